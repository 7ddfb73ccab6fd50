// Changes through the gateways of a bundle: one stands in for another, and what collided or broke off is tried again.
import type { RetryPolicy } from "../storage/decorators/retrying-tree.ts";
import { defaultRetryPolicy, waitForRetry } from "../storage/decorators/retrying-tree.ts";
import { defaultWebapiLimits, Webapi } from "../storage/tahoe/webapi.ts";
import { WebapiWriter } from "../storage/tahoe/webapi-writer.ts";

export class WriteGateways {
  readonly #writers: readonly WebapiWriter[];
  readonly #policy: RetryPolicy;

  /**
   * @param urls at least one
   * @param gatewayCa certificates, in PEM, that are trusted for them beside those that everybody trusts
   */
  constructor(urls: readonly string[], gatewayCa?: string, policy: RetryPolicy = defaultRetryPolicy) {
    this.#writers = urls.map((url) => new WebapiWriter(new Webapi(url, defaultWebapiLimits, gatewayCa)));
    this.#policy = policy;
  }

  /**
   * @param change may be called several times, each time from its start. A lost race for a directory (Tahoe's
   * UncoordinatedWriteError) is one of the failures after which it is: so it reads anew what it changes
   * @throws what `change` throws that is not transient, or in its last attempt
   */
  async change<T>(change: (writer: WebapiWriter) => Promise<T>, signal: AbortSignal): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      const writer = this.#writers[attempt % this.#writers.length];
      if (writer === undefined) throw new Error("a bundle without a gateway was let through");
      try {
        return await change(writer);
      } catch (thrown) {
        const isLast = attempt + 1 >= this.#policy.attempts * this.#writers.length;
        const failures = Math.floor(attempt / this.#writers.length) + 1;
        await waitForRetry(thrown, { failures, isLast }, this.#policy, signal);
      }
    }
  }
}
