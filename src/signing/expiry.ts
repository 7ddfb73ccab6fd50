// Tells in the log when signing keys end, long enough before for every client to learn of their successors.
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { RepositoryName } from "../base/names.ts";
import { repeat } from "../base/repeat.ts";
import type { SigningKey } from "./signer.ts";

const daySeconds = 24 * 3600;
/** What ends within so long is told at the start: a successor should be found in time by machines that are seldom on. */
const yearSeconds = 365 * daySeconds;
/** What ends within so long is told every day. */
const soonSeconds = 60 * daySeconds;

/** Tells now, and once a day until the signal is aborted. */
export function watchExpiry(
  keys: readonly SigningKey[],
  {
    repository,
    log,
    now,
    signal,
  }: { readonly repository: RepositoryName; readonly log: Log; readonly now: Clock; readonly signal: AbortSignal },
): void {
  const tell = (withinSeconds: number): void => {
    for (const { fingerprint, expiresAtSeconds } of keys) {
      if (expiresAtSeconds === undefined) continue;
      const leftSeconds = expiresAtSeconds - now() / 1000;
      if (leftSeconds > withinSeconds) continue;
      const context = { repository, key: fingerprint, expires: new Date(expiresAtSeconds * 1000).toISOString() };
      if (leftSeconds <= 0) log.error(context, "this signing key has expired: nothing is signed with it any more");
      else log.warn(context, "this signing key will expire: extend it, or let its successor sign beside it");
    }
  };
  tell(yearSeconds);
  const tellDaily = (): number => {
    tell(soonSeconds);
    return daySeconds * 1000;
  };
  void repeat(tellDaily, { firstDelayMs: daySeconds * 1000, signal });
}
