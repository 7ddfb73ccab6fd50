// Fingerprints of the settings that must be equal on all replicas of a repository. They tell nothing about secrets.
import { hash } from "node:crypto";
import type { Configuration, RepositoryConfiguration } from "../config/configuration.ts";

/** @returns fingerprints by what they are of, as an error message names it */
export function fleetSettings(
  one: RepositoryConfiguration,
  configuration: Configuration,
): Readonly<Record<string, string>> {
  const { tree, origin, label, description, flat, suites, translations, pdiffs, contents } = one;
  const { digests, releaseDigests, dateLagSeconds, archiveKeyring, packageOwners } = one;
  const indices = { translations, pdiffs, contents, digests, releaseDigests, dateLagSeconds, archiveKeyring };
  return {
    // String() of a cap is its fingerprint. The same folder may be mounted at different places.
    tree: tree.kind === "tahoe" ? fingerprintOf(String(tree.readCap)) : tree.kind,
    suites: fingerprintOf([...suites]),
    flat: fingerprintOf(flat),
    indices: fingerprintOf(indices),
    identity: fingerprintOf({ origin, label, description, publicUrl: configuration.publicUrl }),
    package_owners: fingerprintOf(packageOwners),
    keep_seconds: fingerprintOf(configuration.keepSeconds),
  };
}

const fingerprintOf = (value: unknown): string =>
  hash("sha256", JSON.stringify(value) ?? "undefined", "base64url").slice(0, 12);
