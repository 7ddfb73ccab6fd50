// Logs when signing keys will expire, early enough for every client to get their successors.
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { RepositoryName } from "../base/names.ts";
import { repeat } from "../base/repeat.ts";
import type { SigningKey } from "./signer.ts";

const daySeconds = 24 * 3600;
/** At the start, a key that expires within this time is logged: machines that are rarely on need time for a new key. */
const yearSeconds = 365 * daySeconds;
/** A key that expires within this time is logged every day. */
const soonSeconds = 60 * daySeconds;

/** Logs keys that will expire: now, and once a day until the signal is aborted. */
export function watchExpiry(
  keys: readonly SigningKey[],
  {
    repository,
    log,
    now,
    signal,
  }: { readonly repository: RepositoryName; readonly log: Log; readonly now: Clock; readonly signal: AbortSignal },
): void {
  const report = (withinSeconds: number): void => {
    for (const { fingerprint, expiresAtSeconds } of keys) {
      if (expiresAtSeconds === undefined) continue;
      const leftSeconds = expiresAtSeconds - now() / 1000;
      if (leftSeconds > withinSeconds) continue;
      const context = { repository, key: fingerprint, expires: new Date(expiresAtSeconds * 1000).toISOString() };
      if (leftSeconds <= 0) log.error(context, "this signing key has expired and signs nothing any more");
      else log.warn(context, "this signing key will expire: extend it, or add a second key that signs too");
    }
  };
  report(yearSeconds);
  const reportDaily = (): number => {
    report(soonSeconds);
    return daySeconds * 1000;
  };
  void repeat(reportDaily, { firstDelayMs: daySeconds * 1000, signal });
}
