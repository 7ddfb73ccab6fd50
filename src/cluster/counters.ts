// Counts what clients do at all replicas together: failed logins, and pings of each token.
import type { RateLimiterRes } from "rate-limiter-flexible";
import { RateLimiterMemory, RateLimiterRedis } from "rate-limiter-flexible";
import type { Valkey } from "./valkey.ts";

/** A counter in Valkey. While that is away, each replica counts for itself. */
export class FleetCounter {
  readonly #own: RateLimiterMemory;
  readonly #shared: RateLimiterRedis;

  /**
   * @param name distinguishes it from other counters
   * @param durationSeconds how long after its first event a client begins anew
   */
  constructor(valkey: Valkey, name: string, durationSeconds: number) {
    const counting = { points: 0, duration: durationSeconds };
    this.#own = new RateLimiterMemory(counting);
    this.#shared = new RateLimiterRedis({
      ...counting,
      storeClient: valkey.connection,
      rejectIfRedisNotReady: true,
      keyPrefix: `${valkey.prefix}count:${name}`,
      insuranceLimiter: this.#own,
    });
  }

  get points(): number {
    return this.#own.points;
  }

  set points(limit: number) {
    this.#own.points = limit;
    this.#shared.points = limit;
  }

  /** @throws RateLimiterRes beyond the limit */
  async consume(key: string): Promise<RateLimiterRes> {
    return await this.#shared.consume(key);
  }

  async penalty(key: string): Promise<RateLimiterRes> {
    return await this.#shared.penalty(key);
  }

  async get(key: string): Promise<RateLimiterRes | null> {
    return await this.#shared.get(key);
  }
}
