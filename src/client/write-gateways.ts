// Writes through the gateways of a bundle, with failover between them and retries.
import type { RetryPolicy } from "../storage/decorators/retrying-tree.ts";
import { defaultRetryPolicy, waitForRetry } from "../storage/decorators/retrying-tree.ts";
import { defaultWebapiLimits, Webapi } from "../storage/tahoe/webapi.ts";
import { WebapiWriter } from "../storage/tahoe/webapi-writer.ts";

export class WriteGateways {
  readonly #writers: readonly WebapiWriter[];
  readonly #policy: RetryPolicy;

  /**
   * @param urls at least one
   * @param gatewayCa additional certificate authorities for the gateways, in PEM
   */
  constructor(urls: readonly string[], gatewayCa?: string, policy: RetryPolicy = defaultRetryPolicy) {
    this.#writers = urls.map((url) => new WebapiWriter(new Webapi(url, defaultWebapiLimits, gatewayCa)));
    this.#policy = policy;
  }

  /**
   * @param operation may be called several times, for example after a lost race for a directory (Tahoe's
   * UncoordinatedWriteError); so it must read again what it changes
   * @throws the error of `operation` if it is not transient, or if the last attempt failed
   */
  async retry<T>(operation: (writer: WebapiWriter) => Promise<T>, signal: AbortSignal): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      const writer = this.#writers[attempt % this.#writers.length];
      if (writer === undefined) throw new Error("WriteGateways has no gateway");
      try {
        return await operation(writer);
      } catch (thrown) {
        const isLast = attempt + 1 >= this.#policy.attempts * this.#writers.length;
        const failures = Math.floor(attempt / this.#writers.length) + 1;
        await waitForRetry(thrown, { failures, isLast }, this.#policy, signal);
      }
    }
  }
}
