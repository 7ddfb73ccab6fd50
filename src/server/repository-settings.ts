// What a configuration means for one repository, and the keys that sign it.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { RepositoryName, Suite } from "../base/names.ts";
import { flatSuite, parseSuite } from "../base/names.ts";
import { Layout } from "../catalog/layout/repository-layout.ts";
import type { BuilderNames, OwnerPolicy, OwnerRules } from "../catalog/suite/owner-rules.ts";
import type { BuilderConfiguration, Configuration, RepositoryConfiguration } from "../config/configuration.ts";
import { OverridesFile, overridesFileIn } from "../config/overrides-file.ts";
import { keyringPackageName } from "../publishing/build/archive-keyring.ts";
import type { SuiteIdentity } from "../publishing/build/suite-release.ts";
import type { RepositorySettings } from "../publishing/live/open-repository.ts";
import { openKeyFile } from "../signing/key-file.ts";
import { openpgpSigner } from "../signing/openpgp-signer.ts";
import type { Signer } from "../signing/signer.ts";

/** Where a state directory keeps what is one repository's own, made where it is missing. */
export async function repositoryDirectory(stateDirectory: string, name: RepositoryName): Promise<string> {
  const directory = join(stateDirectory, "repositories", name);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  return directory;
}

/**
 * Yours, or one that is made on the first start and kept: it is the one thing in the state that can't come back.
 * @param directory the repository's own
 * @throws KeyFileError, UnfitKey
 */
export async function openSigner(one: RepositoryConfiguration, directory: string, log: Log): Promise<Signer> {
  const now = systemClock;
  if (one.signingKeys.length > 0)
    return await openpgpSigner(one.signingKeys, { passphrases: one.signingPassphrases, now });
  const file = join(directory, "signing-key.asc");
  return await openpgpSigner([{ file, armored: await openKeyFile(file, { name: one.label, now, log }) }], { now });
}

/** The overrides of a repository, those that commands have set in its directory among them. */
export const openOverrides = (
  one: RepositoryConfiguration,
  { stateDirectory }: Configuration,
  complain: (text: string) => void,
): OverridesFile => new OverridesFile(overridesFileIn(stateDirectory, one.name), one.overrides, complain);

/** Where things are in its tree: the configured suites tell which names of suites have a slash. */
export const layoutOf = ({ suites }: Pick<RepositoryConfiguration, "suites">): Layout =>
  new Layout([...suites.keys()].map(parseSuite));

/** All that does not depend on who asks. @param complain is told what is wrong with a file of builders that was changed */
export const settingsOf = (
  one: RepositoryConfiguration,
  configuration: Configuration,
  overrides: OverridesFile,
  complain: (text: string) => void,
): Omit<RepositorySettings, "name" | "tree" | "signer" | "observer"> => ({
  identityOf: (suite: Suite) => identityOf(one, suite, configuration.publicUrl),
  isPassthrough: (suite: Suite) => one.suites.get(suite)?.indices === "as-found",
  configuredSuites: [...one.suites.keys()].map(parseSuite),
  viewOf: (suite: Suite) => one.suites.get(suite)?.view,
  ownerRulesOf: ownerRulesOf(one, complain),
  overridesOf: (suite: Suite) => overrides.of(suite),
  isTranslated: (suite: Suite) => one.suites.get(suite)?.translations ?? one.translations,
  hasContents: (suite: Suite) => hasContents(one, suite),
  isPatched: (suite: Suite) => one.suites.get(suite)?.pdiffs ?? one.pdiffs,
  algorithms: one.digests,
  releaseAlgorithms: one.releaseDigests,
  dateLagSeconds: one.dateLagSeconds,
  acceptIdentityChange: configuration.acceptIdentityChange,
  ...(one.datesAfterSeconds !== undefined && { datesAfterSeconds: one.datesAfterSeconds }),
  keepSeconds: configuration.keepSeconds,
  scrubSeconds: configuration.scrubSeconds,
});

/**
 * Who may publish which names, as the builders are at the moment: the same object as long as they are the same.
 * A flat repository has no builders' directories.
 */
export function ownerRulesOf(
  one: Pick<RepositoryConfiguration, "name" | "builders" | "suites" | "packageOwners" | "archiveKeyring">,
  complain: (text: string) => void,
): (suite: Suite) => OwnerRules | undefined {
  const layout = layoutOf(one);
  const reserved = one.archiveKeyring === undefined ? [] : [keyringPackageName(one.name)];
  let seen: readonly BuilderConfiguration[] = [];
  let told = "";
  let builders: readonly BuilderNames[] = [];
  const known = new Map<OwnerPolicy, OwnerRules>();
  return (suite) => {
    if (suite === flatSuite) return undefined;
    const now = one.builders(complain);
    if (now !== seen) {
      seen = now;
      const names = now.map(({ name, directory, packages }) => ({ name, directory, packages }));
      const text = JSON.stringify(names);
      // A new token alone judges nothing anew.
      if (text !== told) {
        told = text;
        builders = names;
        known.clear();
      }
    }
    const policy = one.suites.get(suite)?.packageOwners ?? one.packageOwners;
    const isConfined =
      policy !== "any" || reserved.length > 0 || builders.some(({ packages }) => packages !== undefined);
    if (!isConfined) return undefined;
    const rules = known.get(policy) ?? { policy, builders, reserved, layout };
    known.set(policy, rules);
    return rules;
  };
}

/** Packages of a flat repository are for any architecture, and so nobody would ask for what is in them. */
const hasContents = (one: RepositoryConfiguration, suite: Suite): boolean =>
  suite !== flatSuite && (one.suites.get(suite)?.contents ?? one.contents);

/** Whether some suite may have Contents, so that the files of packages are listed. */
export const anyContents = ({ repositories }: Configuration): boolean =>
  repositories.some(({ contents, suites }) => contents || [...suites.values()].some((suite) => suite.contents));

/**
 * @param publicUrl where clients reach the server, without a trailing slash; undefined: they are not told where its past
 * and its changelogs are
 */
function identityOf(one: RepositoryConfiguration, suite: Suite, publicUrl: string | undefined): SuiteIdentity {
  const configured = one.suites.get(suite) ?? {};
  const { version, notAutomatic, butAutomaticUpgrades, validForSeconds, namesKeys } = configured;
  const description = configured.description ?? one.description;
  return {
    origin: one.origin,
    label: one.label,
    // Flat repositories have no such address.
    ...(publicUrl !== undefined &&
      suite !== flatSuite && {
        changelogs: `${publicUrl}/${one.name}/changelogs/@CHANGEPATH@_changelog`,
        snapshots: `${publicUrl}/${one.name}/snapshots/@SNAPSHOTID@/`,
      }),
    codename: configured.codename ?? suite,
    ...(version !== undefined && { version }),
    ...(description !== undefined && { description }),
    ...(notAutomatic !== undefined && { notAutomatic }),
    ...(butAutomaticUpgrades !== undefined && { butAutomaticUpgrades }),
    ...(validForSeconds !== undefined && { validForSeconds }),
    ...(namesKeys !== undefined && { namesKeys }),
  };
}
