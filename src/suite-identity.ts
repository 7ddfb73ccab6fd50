// What a configuration says of who a suite is.
import type { Suite } from "./base/names.ts";
import type { RepositoryConfiguration } from "./configuration.ts";
import type { SuiteIdentity } from "./publishing/suite-release.ts";

export function identityOf(one: RepositoryConfiguration, suite: Suite): SuiteIdentity {
  const configured = one.suites.get(suite) ?? {};
  const { version, notAutomatic, butAutomaticUpgrades, validForSeconds } = configured;
  const description = configured.description ?? one.description;
  return {
    origin: one.origin,
    label: one.label,
    codename: configured.codename ?? suite,
    ...(version !== undefined && { version }),
    ...(description !== undefined && { description }),
    ...(notAutomatic !== undefined && { notAutomatic }),
    ...(butAutomaticUpgrades !== undefined && { butAutomaticUpgrades }),
    ...(validForSeconds !== undefined && { validForSeconds }),
  };
}
