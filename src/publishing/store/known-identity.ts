// What clients have been told of who a suite is, and whether it still says so.
import { RepoError } from "../../base/errors.ts";
import type { Suite } from "../../base/names.ts";

/** A start would tell clients another identity than they know: all of them would refuse it until their users accept it. */
class IdentityChanged extends RepoError {
  readonly code = "publishing/identity-changed";
}

/** The fields of Release that apt holds to be a suite's identity. @see apt-secure(8), on changes of a repository */
const identityFields = /^(Origin|Label|Codename|NotAutomatic|ButAutomaticUpgrades): (.*)$/gm;

/** The identity that a Release tells, by field. */
export const identityOfRelease = (release: string): ReadonlyMap<string, string> =>
  new Map([...release.matchAll(identityFields)].map(([, name = "", value = ""]) => [name, value]));

/** @returns what has changed, in words; empty if nothing has */
export function identityChanges(
  suite: Suite,
  known: ReadonlyMap<string, string>,
  now: ReadonlyMap<string, string>,
): readonly string[] {
  const quoted = (value: string | undefined): string => (value === undefined ? "absent" : JSON.stringify(value));
  return [...new Set([...known.keys(), ...now.keys()])]
    .filter((field) => known.get(field) !== now.get(field))
    .map((field) => `suite ${suite}: ${field} was ${quoted(known.get(field))} and would be ${quoted(now.get(field))}`);
}

/** @throws IdentityChanged if there are any changes */
export function refuseIdentityChanges(changes: readonly string[]): void {
  if (changes.length === 0) return;
  const meaning =
    "every apt that knows the old values would refuse to update until its user accepts the new ones " +
    "(apt-get update --allow-releaseinfo-change), and pins by the old values would hold no more; " +
    "if that is meant, start once with --accept-identity-change";
  throw new IdentityChanged([...changes, meaning].join("; "));
}
