// Counts what clients do at all replicas together: failed logins, and pings of each token.
import { createRequire } from "node:module";
import type * as library from "rate-limiter-flexible";
import type { Valkey } from "./valkey.ts";

// The index of the package would also load the limiters for all other databases.
const require = createRequire(import.meta.url);
const RateLimiterMemory = require("rate-limiter-flexible/lib/RateLimiterMemory.js") as typeof library.RateLimiterMemory;
const RateLimiterRedis = require("rate-limiter-flexible/lib/RateLimiterRedis.js") as typeof library.RateLimiterRedis;

/** A counter in Valkey. While that is away, each replica counts for itself. */
export class FleetCounter {
  readonly #own: library.RateLimiterMemory;
  readonly #shared: library.RateLimiterRedis;

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
  async consume(key: string): Promise<library.RateLimiterRes> {
    return await this.#shared.consume(key);
  }

  async penalty(key: string): Promise<library.RateLimiterRes> {
    return await this.#shared.penalty(key);
  }

  async get(key: string): Promise<library.RateLimiterRes | null> {
    return await this.#shared.get(key);
  }
}
