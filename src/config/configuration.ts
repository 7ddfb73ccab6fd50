// The validated configuration: what composition builds from. How it is written down is config-schema.ts's matter.
import type { Component, RepositoryName, TreePath } from "../base/names.ts";
import type { Secret } from "../base/secret.ts";
import { defaultInspectLimits } from "../catalog/inspection/inspect-limits.ts";
import { defaultDirectoryLimits } from "../catalog/suite/directory-budget.ts";
import type { OverrideRule } from "../catalog/suite/overrides.ts";
import type { OwnerPolicy } from "../catalog/suite/owner-rules.ts";
import type { ViewRules } from "../catalog/suite/suite-view.ts";
import type { DigestAlgorithm } from "../debian/digests.ts";
import { defaultHttpLimits } from "../http/app.ts";
import { defaultChangelogLimits } from "../publishing/serve/changelog-process.ts";
import { defaultTreeLimits } from "../storage/decorators/limited-tree.ts";
import { defaultFolderLimits } from "../storage/folder/folder-tree.ts";
import type { ReadCap } from "../storage/tahoe/caps.ts";
import { defaultListingLimits } from "../storage/tahoe/listing.ts";
import { defaultWebapiLimits } from "../storage/tahoe/webapi.ts";

/** Where a repository's tree is. */
export type TreeConfiguration =
  | {
      readonly kind: "tahoe";
      readonly gateways: readonly string[];
      /** Certificates, in PEM, that are trusted for the gateways beside those that everybody trusts. */
      readonly gatewayCa: string | undefined;
      readonly readCap: ReadCap;
    }
  | { readonly kind: "folder"; readonly directory: string };

/** Who may ask to look again, and below which directory. */
export interface BuilderConfiguration {
  readonly name: string;
  readonly token: Secret;
  readonly directory: TreePath;
  /** Patterns of the names that it may publish; undefined: it is not confined to some. */
  readonly packages?: readonly string[] | undefined;
}

/** What Release says of one suite beyond what its tree says. */
export interface SuiteConfiguration {
  readonly codename?: string | undefined;
  readonly version?: string | undefined;
  readonly description?: string | undefined;
  readonly notAutomatic?: boolean | undefined;
  readonly butAutomaticUpgrades?: boolean | undefined;
  /** Whether Release names the keys that clients shall accept. */
  readonly signedBy?: boolean | undefined;
  /** How long clients may believe a Release; undefined: for ever. */
  readonly validForSeconds?: number | undefined;
  /** Undefined: as the repository says. */
  readonly translations?: boolean | undefined;
  readonly pdiffs?: boolean | undefined;
  readonly contents?: boolean | undefined;
  /** "prebuilt": the indices in the tree are served unchanged; by default they are generated from the packages. */
  readonly indices?: "made" | "prebuilt" | undefined;
  /** What hides some of its packages from its indices. */
  readonly view?: ViewRules | undefined;
  /** Who may publish a name that no builder's `packages` have; undefined: as the repository says. */
  readonly packageOwners?: OwnerPolicy | undefined;
}

export interface RepositoryConfiguration {
  readonly name: RepositoryName;
  readonly tree: TreeConfiguration;
  readonly origin: string;
  readonly label: string;
  readonly description: string | undefined;
  /** What opens the directories of the tree where indices go after each publication; undefined: they go nowhere. */
  readonly publishBundleFile: string | undefined;
  /** A site of plain files that follows each publication; undefined: there is none. */
  readonly exportDirectory: string | undefined;
  /** What indices say of packages in place of what these say. */
  readonly overrides: readonly OverrideRule[];
  /** Where there are packages without `dists`; the tree's root always may be such a place. */
  readonly flat: readonly TreePath[];
  readonly suites: ReadonlyMap<string, SuiteConfiguration>;
  /** Whether long descriptions stand in Translation-en, and not in Packages. */
  readonly translations: boolean;
  /** Whether patches lead from indices of earlier publications to the present ones. */
  readonly pdiffs: boolean;
  /** Whether there are Contents: which package brings which file. */
  readonly contents: boolean;
  /** What the stanzas of Packages and Sources carry, SHA256 always among them. */
  readonly digests: readonly DigestAlgorithm[];
  /** What Release lists, SHA256 always among them. */
  readonly releaseDigests: readonly DigestAlgorithm[];
  /** The last Date that clients know of, where the state directory was lost; seconds since the epoch. */
  readonly datesAfterSeconds: number | undefined;
  /** How far Release's Date lags behind the newest link. */
  readonly dateLagSeconds: number;
  /** Armoured secret keys, each of which signs; none: one is made in the state directory. */
  readonly signingKeys: readonly { readonly file: string; readonly armored: Secret }[];
  /** The component that holds a package with the public keys, in every suite that has it; undefined: there is none. */
  readonly archiveKeyring: Component | undefined;
  /** Those that the keys are locked with, in any order. */
  readonly signingPassphrases: readonly Secret[];
  /** Who may publish a name that no builder's `packages` have. */
  readonly packageOwners: OwnerPolicy;
  /**
   * Those that are known now, the same array as long as they are the same; none at the start: a token for the whole
   * tree is made in the state directory.
   * @param complain is told what is wrong with a file of theirs that was changed
   */
  readonly builders: (complain: (text: string) => void) => readonly BuilderConfiguration[];
  /** Who may read; none: everybody. */
  readonly readers: readonly { readonly name: string; readonly password: Secret }[];
}

/** Bounds on what comes from outside, by the stage that holds them. */
export const defaultLimits = {
  tree: defaultTreeLimits,
  webapi: defaultWebapiLimits,
  listing: defaultListingLimits,
  folder: defaultFolderLimits,
  inspection: defaultInspectLimits,
  directory: defaultDirectoryLimits,
  changelog: defaultChangelogLimits,
  http: defaultHttpLimits,
} as const;
export type Limits = typeof defaultLimits;

export interface Configuration {
  readonly listen: { readonly host: string; readonly port: number };
  readonly stateDirectory: string;
  /** The base of the URLs that are shown to people, without a trailing slash. Undefined: as each request says. */
  readonly publicUrl: string | undefined;
  /** Whether the last address in X-Forwarded-For is the client's. */
  readonly behindProxy: boolean;
  /** What asks for metrics must bear it; undefined: everybody may. */
  readonly metricsToken: Secret | undefined;
  /** Whether this start may tell clients another identity of a suite than they know. */
  readonly acceptIdentityChange: boolean;
  readonly pollSeconds: number;
  /** How long what a publication names stays readable after the next one took its place. */
  readonly keepSeconds: number;
  /**
   * How often one package that is known by its entry's metadata alone is held against its bytes; 0: only when it is
   * fetched.
   */
  readonly scrubSeconds: number;
  /** How often all objects of a tree in a grid are checked and their leases renewed; 0: never. */
  readonly checkSeconds: number;
  /** How much of the disk cached packages may take. */
  readonly cacheBytes: number;
  readonly gracePeriodSeconds: number;
  readonly limits: Limits;
  readonly repositories: readonly RepositoryConfiguration[];
  /** What is allowed but unwise, each with its place. */
  readonly warnings: readonly string[];
}
