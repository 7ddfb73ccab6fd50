// What a configuration says of who a suite is.
import type { Suite } from "./base/names.ts";
import { flatSuite } from "./base/names.ts";
import type { RepositoryConfiguration } from "./configuration.ts";
import type { SuiteIdentity } from "./publishing/suite-release.ts";

/**
 * @param publicUrl where clients reach the server, without a trailing slash; undefined: they are not told where its past
 * and its changelogs are
 */
export function identityOf(one: RepositoryConfiguration, suite: Suite, publicUrl: string | undefined): SuiteIdentity {
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
