// The rate limiter that counts in memory. The index of its package would also load those for fifteen databases, which takes
// longer than to load the rest of this folder.
import { createRequire } from "node:module";
import type * as library from "rate-limiter-flexible";

const require = createRequire(import.meta.url);

export const RateLimiterMemory =
  require("rate-limiter-flexible/lib/RateLimiterMemory.js") as typeof library.RateLimiterMemory;
export type RateLimiterMemory = library.RateLimiterMemory;

/** What `consume` throws if too much is consumed. */
export const RateLimiterRes = require("rate-limiter-flexible/lib/RateLimiterRes.js") as typeof library.RateLimiterRes;

/** Counts events of clients within a minute. One in memory is enough for one server; a fleet has its own. */
export interface ClientCounter extends Pick<RateLimiterMemory, "consume" | "get" | "penalty"> {
  /** The limit of `consume`. */
  points: number;
}
