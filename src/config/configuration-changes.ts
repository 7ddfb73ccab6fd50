// The difference between two configurations: which keys have changed, and whether a running server can take them over.
import { configurationKey } from "../base/errors.ts";
import type { RepositoryName } from "../base/names.ts";
import { Secret } from "../base/secret.ts";
import type { Configuration, Limits, RepositoryConfiguration } from "./configuration.ts";

/**
 * How a running server takes over a key: "now", by opening the repositories again that depend on it ("reopen"), or not
 * at all ("restart").
 */
export type Effect = "now" | "reopen" | "restart";

/** A key as it is written in the configuration, and its effect. */
type Key = readonly [key: string, effect: Effect];

export interface ConfigurationChanges {
  /** The keys that a running server takes over, as in `repository.debian.reader`. They contain no values. */
  readonly live: readonly string[];
  /** The keys that have an effect only after a restart. */
  readonly restart: readonly string[];
  readonly added: readonly RepositoryName[];
  readonly removed: readonly RepositoryName[];
  /** The repositories that must be opened again. */
  readonly reopened: ReadonlySet<RepositoryName>;
}

const serverKeys = {
  listen: ["listen", "restart"],
  cluster: ["cluster", "restart"],
  stateDirectory: ["state", "restart"],
  publicUrl: ["public_url", "reopen"],
  behindProxy: ["behind_proxy", "now"],
  metricsToken: ["metrics_token_file", "now"],
  pollSeconds: ["poll_seconds", "reopen"],
  keepSeconds: ["keep_seconds", "reopen"],
  scrubSeconds: ["scrub_seconds", "reopen"],
  checkSeconds: ["check_seconds", "reopen"],
  cacheBytes: ["cache_bytes", "restart"],
  gracePeriodSeconds: ["grace_period_seconds", "now"],
  logFormat: ["log_format", "now"],
  logLevel: ["log_level", "now"],
  accessLog: ["access_log", "now"],
  workers: ["workers", "restart"],
} as const satisfies Record<
  Exclude<keyof Configuration, "limits" | "repositories" | "warnings" | "acceptIdentityChange">,
  Key
>;

const limitEffects = {
  tree: "reopen",
  webapi: "reopen",
  listing: "reopen",
  folder: "reopen",
  inspection: "reopen",
  directory: "reopen",
  changelog: "reopen",
  http: "now",
  webhook: "reopen",
} as const satisfies Record<keyof Limits, Effect>;

const repositoryKeys = {
  origin: ["origin", "reopen"],
  label: ["label", "reopen"],
  description: ["description", "reopen"],
  publishBundleFile: ["publish_bundle_file", "reopen"],
  exportDirectory: ["export_directory", "reopen"],
  overrides: ["override", "reopen"],
  flat: ["flat", "reopen"],
  translations: ["translations", "reopen"],
  pdiffs: ["pdiffs", "reopen"],
  contents: ["contents", "reopen"],
  digests: ["digests", "reopen"],
  releaseDigests: ["release_digests", "reopen"],
  datesAfterSeconds: ["dates_after", "reopen"],
  dateLagSeconds: ["date_lag_seconds", "reopen"],
  signingKeys: ["signing_key_file", "reopen"],
  signingPassphrases: ["signing_passphrase_file", "reopen"],
  archiveKeyring: ["archive_keyring", "reopen"],
  packageOwners: ["package_owners", "reopen"],
  readers: ["reader", "now"],
  webhooks: ["webhook", "now"],
} as const satisfies Record<Exclude<keyof RepositoryConfiguration, "name" | "tree" | "suites" | "builders">, Key>;

/** The keys of a repository that stand for no single field of its configuration. */
const otherRepositoryKeys = {
  name: "now",
  folder: "reopen",
  webapi: "reopen",
  gateway_ca_file: "reopen",
  readcap_file: "reopen",
  suite: "reopen",
  builder: "now",
  builders_file: "now",
  ping_token_file: "now",
} as const satisfies Record<string, Effect>;

/**
 * Returns the effect of a change of a key.
 * @param path the key with the tables that it is in, for example `["limits", "http", "max_connections"]`
 */
export function effectOf([first = "", second = ""]: readonly string[]): Effect | undefined {
  const effects = (keys: Readonly<Record<string, Key>>) => Object.fromEntries<Effect>(Object.values(keys));
  const known: Readonly<Record<string, Effect>> =
    first === "limits"
      ? limitEffects
      : first === "repository"
        ? { ...effects(repositoryKeys), ...otherRepositoryKeys }
        : effects(serverKeys);
  return known[first === "limits" || first === "repository" ? second : first];
}

/** Compares the configuration that is in effect with another one. */
export function changesBetween(before: Configuration, after: Configuration): ConfigurationChanges {
  const ofServer = [...changedFields(serverKeys, before, after), ...changedLimits(before.limits, after.limits)];
  const known = new Map(before.repositories.map((one) => [one.name, one]));
  const remaining = new Set(after.repositories.map(({ name }) => name));
  const added = after.repositories.filter(({ name }) => !known.has(name)).map(({ name }) => name);
  const removed = [...known.keys()].filter((name) => !remaining.has(name));
  const reopensAll = ofServer.some(([, effect]) => effect === "reopen");
  const keys = [
    ...ofServer,
    ...[...added, ...removed].map((name): Key => [`repository.${name}`, otherRepositoryKeys.name]),
  ];
  const reopened = new Set<RepositoryName>();
  for (const one of after.repositories) {
    const former = known.get(one.name);
    if (former === undefined) continue;
    const changed = changedInRepository(former, one);
    if (reopensAll || changed.some(([, effect]) => effect === "reopen")) reopened.add(one.name);
    keys.push(...changed.map(([key, effect]): Key => [`repository.${one.name}.${key}`, effect]));
  }
  const withEffect = (isRestart: boolean) =>
    keys.filter(([, effect]) => (effect === "restart") === isRestart).map(([key]) => key);
  return { live: withEffect(false), restart: withEffect(true), added, removed, reopened };
}

/**
 * Returns a configuration without the changes that need a restart. Limits that have not
 * changed stay the same objects, because repositories share what belongs to them.
 */
export function withoutRestart(before: Configuration, after: Configuration): Configuration {
  const stages = (Object.keys(limitEffects) as (keyof Limits)[]).map((stage) => {
    const isUnchanged = isSame(before.limits[stage], after.limits[stage]);
    return [stage, isUnchanged ? before.limits[stage] : after.limits[stage]] as const;
  });
  const { listen, cluster, stateDirectory, cacheBytes, workers } = before;
  const limits = Object.fromEntries(stages) as unknown as Limits;
  return { ...after, limits, listen, cluster, stateDirectory, cacheBytes, workers };
}

function changedInRepository(before: RepositoryConfiguration, after: RepositoryConfiguration): Key[] {
  const ignore = () => undefined;
  const areBuildersSame = isSame(before.builders(ignore), after.builders(ignore));
  return [
    ...changedTree(before.tree, after.tree),
    ...changedFields(repositoryKeys, before, after),
    ...changedSuites(before.suites, after.suites),
    ...(areBuildersSame ? [] : [["builder", otherRepositoryKeys.builder] as const]),
  ];
}

type Tree = RepositoryConfiguration["tree"];

function changedTree(before: Tree, after: Tree): Key[] {
  if (before.kind === "folder" || after.kind === "folder")
    return isSame(before, after) ? [] : [["folder", otherRepositoryKeys.folder] as const];
  const keys: (readonly [keyof typeof otherRepositoryKeys, unknown, unknown])[] = [
    ["webapi", before.gateways, after.gateways],
    ["gateway_ca_file", before.gatewayCa, after.gatewayCa],
    ["readcap_file", before.readCap, after.readCap],
  ];
  return keys.filter(([, one, other]) => !isSame(one, other)).map(([key]) => [key, otherRepositoryKeys[key]]);
}

function changedSuites(before: RepositoryConfiguration["suites"], after: RepositoryConfiguration["suites"]): Key[] {
  return [...new Set([...before.keys(), ...after.keys()])].flatMap((suite) => {
    const [one, other] = [before.get(suite), after.get(suite)];
    if (one === undefined || other === undefined) return [[`suite.${suite}`, otherRepositoryKeys.suite] as const];
    return changedNames(one, other).map(
      (name): Key => [`suite.${suite}.${configurationKey(name)}`, otherRepositoryKeys.suite],
    );
  });
}

const changedLimits = (before: Limits, after: Limits): Key[] =>
  (Object.keys(limitEffects) as (keyof Limits)[]).flatMap((stage) =>
    changedNames(before[stage], after[stage]).map(
      (name): Key => [`limits.${stage}.${configurationKey(name).replace(/_ms$/, "_seconds")}`, limitEffects[stage]],
    ),
  );

const changedFields = <Whole extends object>(
  keys: Readonly<Partial<Record<keyof Whole, Key>>>,
  before: Whole,
  after: Whole,
): Key[] =>
  (Object.entries(keys) as [keyof Whole, Key][])
    .filter(([name]) => !isSame(before[name], after[name]))
    .map(([, key]) => key);

/** The names of the fields in which two objects differ. */
function changedNames(before: object, after: object): string[] {
  const [one, other] = [new Map(Object.entries(before)), new Map(Object.entries(after))];
  return [...new Set([...one.keys(), ...other.keys()])].filter((name) => !isSame(one.get(name), other.get(name)));
}

/** Whether two values of configurations are equal. Secrets are compared by their texts. */
export function isSame(one: unknown, other: unknown): boolean {
  if (one instanceof Secret || other instanceof Secret)
    return one instanceof Secret && other instanceof Secret && one.isSame(other);
  if (typeof one !== "object" || typeof other !== "object" || one === null || other === null) return one === other;
  if (Array.isArray(one) !== Array.isArray(other)) return false;
  return changedNames(one, other).length === 0;
}
