// Release's Date: it follows the uploads, only ever moves forward, and never runs ahead of the clock.
import { httpDate } from "../base/clock.ts";
import { RepoError } from "../base/errors.ts";

/** How far Date may run ahead of the clock, so that a burst of changes need not wait; apt refuses 10 s and more. */
const maxDateAheadSeconds = 5;

/**
 * The Date of the next publication: the newest link's time if that is between the last Date and now; for a skewed
 * uploader's clock the present; for a removal or a second change within one second, the last Date plus one second.
 * @param newestLinkMs ms since the epoch, not trusted; 0 for a suite that never held a package
 * @param lastSeconds the Date last served, seconds since the epoch
 * @returns seconds since the epoch
 */
export function nextDate(newestLinkMs: number, lastSeconds: number | undefined, nowMs: number): number {
  const wanted = Math.floor((newestLinkMs > 0 ? Math.min(newestLinkMs, nowMs) : nowMs) / 1000);
  return lastSeconds === undefined || wanted > lastSeconds ? wanted : lastSeconds + 1;
}

/** Longer than any burst of changes makes us wait: then the clock is, or was, wrong. */
const longestWaitMs = 30_000;

/** The next Date lies far ahead of the clock: clients would refuse it, and an older one they would ignore. */
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
 * @throws ClockBehind where waiting is of no use: a clock that was set back may be set right at any moment
 */
export function waitForDateMs(dateSeconds: number, nowMs: number): number {
  const waitMs = Math.max(0, (dateSeconds - maxDateAheadSeconds) * 1000 - nowMs);
  if (waitMs > longestWaitMs) throw new ClockBehind(dateSeconds, nowMs);
  return waitMs;
}
