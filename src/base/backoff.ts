// How long to wait before the next attempt at something that failed.

export interface BackoffLimits {
  /** After the first failure; doubled after each further one. */
  readonly firstDelayMs: number;
  readonly maxDelayMs: number;
}

/** Exponential backoff, in ms. @param failures so far in a row, at least 1 */
export const backoffMs = (failures: number, { firstDelayMs, maxDelayMs }: BackoffLimits): number =>
  Math.min(maxDelayMs, firstDelayMs * 2 ** (failures - 1));

/**
 * Spreads delays between half of their length and the whole, so that clients which failed together do not return
 * together.
 * @param random from 0 to below 1
 */
export const withJitter = (delayMs: number, random: number): number => delayMs * (0.5 + random / 2);
