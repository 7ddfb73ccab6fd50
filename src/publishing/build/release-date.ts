// Computes the Date of Release: it follows the uploads, never decreases, and lags behind the clocks of all clients.
import { createHash } from "node:crypto";
import { httpDate } from "../../base/clock.ts";
import { RepoError } from "../../base/errors.ts";

/**
 * How far Date lags behind the newest link. A client whose clock is slow by less than this accepts the publication at
 * once. apt 3 rejects a signature that is a second ahead of its clock, and the signature contains the Date.
 */
export const defaultDateLagSeconds = 60;

/** Date is never closer to the clock than this, even in a burst of changes that has used up the lag. */
export const minDateLagSeconds = 10;

/** A longer lag helps no client whose clock is correct enough for TLS and Valid-Until. */
export const maxDateLagSeconds = 24 * 3600;

/** The inputs for the next Date. */
export interface DateInputs {
  /**
   * Milliseconds since the epoch, untrusted. 0 means unknown; then the time of publishing counts. Undefined means that
   * nothing was linked; then the last Date counts, because the clock may be wrong.
   */
  readonly newestLinkMs: number | undefined;
  /** The Date last served, seconds since the epoch. */
  readonly lastSeconds: number | undefined;
  readonly nowMs: number;
  readonly lagSeconds: number;
}

/**
 * Computes the Date of the next publication: the time of the newest link minus the lag. A link time in the future
 * counts as now. After a removal, and after a change that follows another at once, it is the last Date plus one second,
 * so a burst of changes uses up the lag.
 * @returns seconds since the epoch
 */
export function nextDate({ newestLinkMs, lastSeconds, nowMs, lagSeconds }: DateInputs): number {
  if (newestLinkMs === undefined && lastSeconds !== undefined) return lastSeconds + 1;
  const wanted = Math.floor((newestLinkMs ? Math.min(newestLinkMs, nowMs) : nowMs) / 1000) - lagSeconds;
  return lastSeconds === undefined || wanted > lastSeconds ? wanted : lastSeconds + 1;
}

/** No burst of changes requires a longer wait, so the clock is or was wrong. */
const longestWaitMs = 30_000;

/** The next Date is too close to the clock or ahead of it. Clients would reject it, and ignore an older one. */
class ClockBehind extends RepoError {
  readonly code = "publishing/clock-behind";
  constructor(dateSeconds: number, nowMs: number) {
    super(
      `the clock is at ${httpDate(Math.floor(nowMs / 1000))}, but the Date for clients must be ${httpDate(dateSeconds)}`,
    );
  }
}

/**
 * How long to wait, in ms, until a publication with this Date may be served.
 * @throws ClockBehind if waiting does not help; a clock that was set back may be corrected at any time
 */
export function waitForDateMs(dateSeconds: number, nowMs: number): number {
  const waitMs = Math.max(0, (dateSeconds + minDateLagSeconds) * 1000 - nowMs);
  if (waitMs > longestWaitMs) throw new ClockBehind(dateSeconds, nowMs);
  return waitMs;
}

/** The maximum difference between a publication's Last-Modified and its Date. */
const lastModifiedSpreadSeconds = 24 * 3600;

/**
 * Computes the Last-Modified of a publication's files: the Date minus an offset that is a hash of the origin. Two
 * servers of one tree that sign with different keys (because a key was lost or restored) produce different bytes with
 * the same Date. If Last-Modified were equal too, a client with the one file would get 304 for the other, or would
 * resume its download with bytes of the other.
 * @param origin text that is equal for a repository's publications as long as only packages change
 * @returns seconds since the epoch, at most Date; it increases with Date while the origin stays the same
 */
export function lastModifiedOf(dateSeconds: number, origin: string): number {
  return dateSeconds - (createHash("sha256").update(origin).digest().readUInt32BE(0) % lastModifiedSpreadSeconds);
}
