// The settings of one repository, derived from the configuration, and its signing keys.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { LRUCache } from "lru-cache";
import { systemClock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { RepositoryName, Suite } from "../base/names.ts";
import { flatSuite, parseSuite } from "../base/names.ts";
import { Layout } from "../catalog/layout/repository-layout.ts";
import type { BuilderNames, OwnerPolicy, OwnerRules } from "../catalog/suite/owner-rules.ts";
import type {
  BuilderConfiguration,
  Configuration,
  RepositoryConfiguration,
  SuiteConfiguration,
} from "../config/configuration.ts";
import { OverridesFile, overridesFileName } from "../config/overrides-file.ts";
import { keyringPackageName } from "../publishing/build/archive-keyring.ts";
import type { RepositorySettings } from "../publishing/live/open-repository.ts";
import type { SuiteIdentity, SuiteSettings, SuiteSettingsProvider } from "../publishing/suite-settings.ts";
import { openKeyFile } from "../signing/key-file.ts";
import { openpgpSigner } from "../signing/openpgp-signer.ts";
import type { Signer } from "../signing/signer.ts";
import { repositoryDirectoryIn, signingKeyName } from "./state-directory.ts";

/** Returns the directory of one repository in the state directory, which is created if it is missing. */
export async function repositoryDirectory(stateDirectory: string, name: RepositoryName): Promise<string> {
  const directory = repositoryDirectoryIn(stateDirectory, name);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  return directory;
}

/**
 * Opens the configured signing keys or, if there are none, a key that is generated at the first start. That key
 * cannot be made again: it must be in a backup.
 * @param directory the directory of the repository
 * @throws KeyFileError, UnfitKey
 */
export async function openSigner(one: RepositoryConfiguration, directory: string, log: Log): Promise<Signer> {
  const now = systemClock;
  if (one.signingKeys.length > 0)
    return await openpgpSigner(one.signingKeys, { passphrases: one.signingPassphrases, now });
  const file = join(directory, signingKeyName);
  return await openpgpSigner([{ file, armored: await openKeyFile(file, { name: one.label, now, log }) }], { now });
}

/** Opens the overrides of a repository, including those that commands have written to its directory. */
export const openOverrides = (
  one: RepositoryConfiguration,
  stateDirectory: string,
  complain: (text: string) => void,
): OverridesFile => {
  const file = join(repositoryDirectoryIn(stateDirectory, one.name), overridesFileName);
  return new OverridesFile(file, one.overrides, complain);
};

/** Returns the layout of its tree, which depends on the configured suites whose names contain a slash. */
export const layoutOf = ({ suites }: Pick<RepositoryConfiguration, "suites">): Layout =>
  new Layout([...suites.keys()].map(parseSuite));

type OwnedRepository = Pick<
  RepositoryConfiguration,
  "name" | "builders" | "suites" | "packageOwners" | "archiveKeyring"
>;

interface ConfiguredSuitesOptions {
  /**
   * Where clients reach the server, without a trailing slash; undefined: Release does not state where snapshots and
   * changelogs are.
   */
  readonly publicUrl: string | undefined;
  readonly ownerRules: CurrentOwnerRules;
  readonly overrides: OverridesFile;
}

/** The settings of a repository that depend only on the configuration. */
export type ConfiguredSettings = Omit<
  RepositorySettings,
  "stateName" | "tree" | "keptFiles" | "signer" | "observer" | "outage" | "builderDirectories" | "isFlat" | "placement"
>;

/**
 * Returns the settings of a repository that depend only on the configuration.
 * @param complain receives complaints about files that are read again because they have changed
 */
export const settingsOf = (
  one: RepositoryConfiguration,
  configuration: Configuration,
  overrides: OverridesFile,
  complain: (text: string) => void,
): ConfiguredSettings => ({
  name: one.name,
  suiteSettings: new ConfiguredSuites(one, {
    publicUrl: configuration.publicUrl,
    ownerRules: new CurrentOwnerRules(one, complain),
    overrides,
  }),
  configuredSuites: [...one.suites.keys()].map(parseSuite),
  digests: one.digests,
  releaseDigests: one.releaseDigests,
  dateLagSeconds: one.dateLagSeconds,
  acceptIdentityChange: configuration.acceptIdentityChange,
  ...(one.datesAfterSeconds !== undefined && { datesAfterSeconds: one.datesAfterSeconds }),
  keepSeconds: configuration.keepSeconds,
  scrubSeconds: configuration.scrubSeconds,
});

/** Who may publish which names, according to the configuration and the current list of builders. */
export class CurrentOwnerRules {
  readonly #repository: OwnedRepository;
  readonly #complain: (text: string) => void;
  readonly #layout: Layout;
  readonly #reserved: readonly string[];
  #configured: readonly BuilderConfiguration[] = [];
  #builders: readonly BuilderNames[] = [];
  readonly #byPolicy = new Map<OwnerPolicy, OwnerRules>();

  /** @param complain receives complaints about a changed file of builders */
  constructor(repository: OwnedRepository, complain: (text: string) => void) {
    this.#repository = repository;
    this.#complain = complain;
    this.#layout = layoutOf(repository);
    this.#reserved = repository.archiveKeyring === undefined ? [] : [keyringPackageName(repository.name)];
  }

  /**
   * @returns the same object until the rules change; undefined if everybody may publish every name, which is always so
   * in a flat repository, since it has no builders' directories
   */
  of(suite: Suite): OwnerRules | undefined {
    if (suite === flatSuite) return undefined;
    this.#readBuilders();
    const policy = this.#repository.suites.get(suite)?.packageOwners ?? this.#repository.packageOwners;
    const isConfined =
      policy !== "any" || this.#reserved.length > 0 || this.#builders.some(({ packages }) => packages !== undefined);
    if (!isConfined) return undefined;
    const known = this.#byPolicy.get(policy);
    if (known !== undefined) return known;
    const rules = { policy, builders: this.#builders, reserved: this.#reserved, layout: this.#layout };
    this.#byPolicy.set(policy, rules);
    return rules;
  }

  #readBuilders(): void {
    const configured = this.#repository.builders(this.#complain);
    if (configured === this.#configured) return;
    this.#configured = configured;
    const builders = configured.map(({ name, directory, packages }) => ({ name, directory, packages }));
    // If only a token changed, the rules stay the same object, so that no package list is computed again.
    if (JSON.stringify(builders) === JSON.stringify(this.#builders)) return;
    this.#builders = builders;
    this.#byPolicy.clear();
  }
}

/** Whether any suite has Contents, so that the inspector must collect file lists. */
export const anyContents = ({ repositories }: Configuration): boolean =>
  repositories.some(({ contents, suites }) => contents || [...suites.values()].some((suite) => suite.contents));

/**
 * Suite names also come from requests for suites that do not exist, so the number of remembered settings is bounded.
 */
const maxRememberedSuites = 1000;

/** The settings of the suites of a repository, from its table in the configuration and the tables of the suites. */
class ConfiguredSuites implements SuiteSettingsProvider {
  readonly #repository: RepositoryConfiguration;
  readonly #options: ConfiguredSuitesOptions;
  readonly #known = new LRUCache<Suite, SuiteSettings>({ max: maxRememberedSuites });

  constructor(repository: RepositoryConfiguration, options: ConfiguredSuitesOptions) {
    this.#repository = repository;
    this.#options = options;
  }

  of(suite: Suite): SuiteSettings {
    const known = this.#known.get(suite);
    if (known !== undefined) return known;
    const settings = this.#settingsOf(suite);
    this.#known.set(suite, settings);
    return settings;
  }

  #settingsOf(suite: Suite): SuiteSettings {
    const { translations, contents, pdiffs, suites } = this.#repository;
    const { ownerRules, overrides } = this.#options;
    const own = suites.get(suite) ?? {};
    return {
      identity: this.#identityOf(suite, own),
      validForSeconds: own.validForSeconds,
      signedBy: own.signedBy ?? false,
      translations: own.translations ?? translations,
      // Packages of a flat repository are for all architectures, and no client reads Contents of such a repository.
      contents: suite !== flatSuite && (own.contents ?? contents),
      pdiffs: own.pdiffs ?? pdiffs,
      indices: own.indices ?? "made",
      view: own.view,
      ownerRules: () => ownerRules.of(suite),
      overrides: () => overrides.of(suite),
    };
  }

  #identityOf(suite: Suite, own: SuiteConfiguration): SuiteIdentity {
    const { name, origin, label } = this.#repository;
    const { publicUrl } = this.#options;
    const { version, notAutomatic, butAutomaticUpgrades } = own;
    const description = own.description ?? this.#repository.description;
    return {
      origin,
      label,
      // Flat repositories have no such address.
      ...(publicUrl !== undefined &&
        suite !== flatSuite && {
          changelogs: `${publicUrl}/${name}/changelogs/@CHANGEPATH@_changelog`,
          snapshots: `${publicUrl}/${name}/snapshots/@SNAPSHOTID@/`,
        }),
      codename: own.codename ?? suite,
      ...(version !== undefined && { version }),
      ...(description !== undefined && { description }),
      ...(notAutomatic !== undefined && { notAutomatic }),
      ...(butAutomaticUpgrades !== undefined && { butAutomaticUpgrades }),
    };
  }
}
