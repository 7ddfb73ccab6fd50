// Compares the identity of a suite (Origin, Label and so on) with the one that clients received before.
import { RepoError } from "../../base/errors.ts";
import type { Suite } from "../../base/names.ts";

/** The configured identity of a suite differs from the published one, so every apt would reject the suite. */
class IdentityChanged extends RepoError {
  readonly code = "publishing/identity-changed";
}

/** The fields of Release whose change apt reports. @see apt-secure(8), on changes of repository information */
const identityFields = /^(Origin|Label|Codename|NotAutomatic|ButAutomaticUpgrades): (.*)$/gm;

/** The identity fields of a Release file, by field name. */
export const identityFieldsOf = (release: string): ReadonlyMap<string, string> =>
  new Map([...release.matchAll(identityFields)].map(([, name = "", value = ""]) => [name, value]));

/** @returns a sentence for each changed field; empty if nothing changed */
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
export function rejectIdentityChanges(changes: readonly string[]): void {
  if (changes.length === 0) return;
  const explanation =
    "every apt with the old values will reject this suite until its user accepts the new ones " +
    "(apt-get update --allow-releaseinfo-change), and pins on the old values will stop working; " +
    "if this is intended, start once with --accept-identity-change";
  throw new IdentityChanged([...changes, explanation].join("; "));
}
