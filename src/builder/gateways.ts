// Changes through the gateways of a bundle: one stands in for another, and what collided or broke off is tried again.
import { sleep } from "../base/abort.ts";
import type { RetryPolicy } from "../storage/retrying.ts";
import { defaultRetryPolicy } from "../storage/retrying.ts";
import { Webapi } from "../storage/tahoe/webapi.ts";
import { WebapiWriter } from "../storage/tahoe/webapi-writer.ts";
import { StorageUnavailable } from "../storage/tree.ts";

/**
 * How long after the first links of an empty directory they can still be lost, in ms. A gateway that lost the race for
 * a directory tries again after e s (normally distributed, σ = 0.33 s) with the contents that it had read before. Of a
 * directory with entries it finds them gone, and says so (500); of an empty one there is nothing to be found gone, and
 * what the other gateway was told is written goes. Measured with Tahoe-LAFS 1.20.
 * @see Tahoe-LAFS, allmydata/mutable/filenode.py: BackoffAgent, MutableFileVersion._modify_once
 */
export const untilFirstLinksLastMs = 5_000;

export class Gateways {
  readonly #writers: readonly WebapiWriter[];
  readonly #policy: RetryPolicy;

  /** @param urls at least one */
  constructor(urls: readonly string[], policy: RetryPolicy = defaultRetryPolicy) {
    this.#writers = urls.map((url) => new WebapiWriter(new Webapi(url)));
    this.#policy = policy;
  }

  /**
   * @param change may be called several times, each time from its start. A lost race for a directory (Tahoe's
   * UncoordinatedWriteError) is one of the failures after which it is: so it reads anew what it changes
   * @throws what `change` throws that is not transient, or in its last attempt
   */
  async change<T>(change: (writer: WebapiWriter) => Promise<T>, signal: AbortSignal): Promise<T> {
    const { attempts, firstDelayMs, maxDelayMs, random } = this.#policy;
    for (let attempt = 0; ; attempt++) {
      const writer = this.#writers[attempt % this.#writers.length];
      if (writer === undefined) throw new Error("a bundle without a gateway was let through");
      try {
        return await change(writer);
      } catch (thrown) {
        signal.throwIfAborted();
        const isLast = attempt + 1 >= attempts * this.#writers.length;
        if (!(thrown instanceof StorageUnavailable) || !thrown.transient || isLast) throw thrown;
        const round = Math.floor(attempt / this.#writers.length);
        await sleep(Math.min(maxDelayMs, firstDelayMs * 2 ** round) * (0.5 + random() / 2), signal);
      }
    }
  }
}
