// Release's Date: it follows the uploads, only ever moves forward, and lags behind the clocks of all clients.
import { createHash } from "node:crypto";
import { httpDate } from "../../base/clock.ts";
import { RepoError } from "../../base/errors.ts";

/**
 * How far Date lags behind the newest link. A client whose clock is slower than ours by less accepts the publication at
 * once: apt 3 refuses a signature that is a second ahead of its clock, and the signature bears the Date.
 */
export const defaultDateLagSeconds = 60;

/** Date is never closer to the clock than this, also in a burst of changes that has used up the lag. */
export const minDateLagSeconds = 10;

/** A longer lag helps no client whose clock is right enough for TLS and Valid-Until. */
export const maxDateLagSeconds = 24 * 3600;

/** What the next Date depends on. */
export interface DateOrder {
  /** Milliseconds since the epoch, not trusted; 0 where the tree says nothing: for the time of publishing. */
  readonly newestLinkMs: number;
  /** The Date last served, seconds since the epoch. */
  readonly lastSeconds: number | undefined;
  readonly nowMs: number;
  readonly lagSeconds: number;
}

/**
 * The Date of the next publication: the newest link's time less the lag. A link ahead of the clock counts as made now.
 * For a removal, or a change that follows another at once, it is the last Date plus one second: a burst uses up the lag.
 * @returns seconds since the epoch
 */
export function nextDate({ newestLinkMs, lastSeconds, nowMs, lagSeconds }: DateOrder): number {
  const wanted = Math.floor((newestLinkMs > 0 ? Math.min(newestLinkMs, nowMs) : nowMs) / 1000) - lagSeconds;
  return lastSeconds === undefined || wanted > lastSeconds ? wanted : lastSeconds + 1;
}

/** Longer than any burst of changes makes us wait: then the clock is, or was, wrong. */
const longestWaitMs = 30_000;

/** The next Date is too close to the clock or ahead of it: clients would refuse it, and ignore an older one. */
class ClockBehind extends RepoError {
  readonly code = "publishing/clock-behind";
  constructor(dateSeconds: number, nowMs: number) {
    super(
      `the clock says ${httpDate(Math.floor(nowMs / 1000))}, and clients know a Date up to ${httpDate(dateSeconds)}`,
    );
  }
}

/**
 * How long to wait, in ms, until a publication of this Date may be served.
 * @throws ClockBehind where waiting does not help: a clock that was set back may be set right at any moment
 */
export function waitForDateMs(dateSeconds: number, nowMs: number): number {
  const waitMs = Math.max(0, (dateSeconds + minDateLagSeconds) * 1000 - nowMs);
  if (waitMs > longestWaitMs) throw new ClockBehind(dateSeconds, nowMs);
  return waitMs;
}

/** How much earlier than its Date a publication's Last-Modified may be. */
const lastModifiedSpreadSeconds = 24 * 3600;

/**
 * The Last-Modified of a publication's files: as long before its Date as a hash of its origin says. Two servers of one
 * tree that sign with other keys (the key was lost, or restored) make other bytes of the same Date. With the same
 * Last-Modified, a client that holds the one would be told that it has the other, or would continue it with its bytes.
 * @param origin what a repository's publications have in common as long as nothing but packages changes
 * @returns seconds since the epoch, never later than Date; it grows with Date while the origin stays
 */
export function lastModifiedOf(dateSeconds: number, origin: string): number {
  return dateSeconds - (createHash("sha256").update(origin).digest().readUInt32BE(0) % lastModifiedSpreadSeconds);
}
