// The validated configuration, from which the server is built. config-schema.ts parses it.
import type { LogFormat, LogLevel } from "../base/log.ts";
import type { Component, RepositoryName, TreePath } from "../base/names.ts";
import type { Secret } from "../base/secret.ts";
import { defaultInspectLimits } from "../catalog/inspection/inspect-limits.ts";
import { defaultDirectoryLimits } from "../catalog/suite/directory-budget.ts";
import type { OverrideRule } from "../catalog/suite/overrides.ts";
import type { OwnerPolicy } from "../catalog/suite/owner-rules.ts";
import type { ViewRules } from "../catalog/suite/suite-view.ts";
import type { ValkeySettings } from "../cluster/valkey-settings.ts";
import type { DigestAlgorithm } from "../debian/digests.ts";
import { defaultHttpLimits } from "../http/app.ts";
import { defaultChangelogLimits } from "../publishing/serve/changelog-process.ts";
import { defaultTreeLimits } from "../storage/decorators/limited-tree.ts";
import { defaultFolderLimits } from "../storage/folder/folder-tree.ts";
import type { ReadCap } from "../storage/tahoe/caps.ts";
import { defaultListingLimits } from "../storage/tahoe/listing.ts";
import { defaultWebapiLimits } from "../storage/tahoe/webapi.ts";
import type { Webhook } from "../web/webhooks/webhook.ts";
import { defaultWebhookLimits } from "../web/webhooks/webhook-sender.ts";

/** The location of a repository's tree. */
export type TreeConfiguration =
  | {
      readonly kind: "tahoe";
      readonly gateways: readonly string[];
      /** Additional trusted certificates for the gateways, in PEM. */
      readonly gatewayCa: string | undefined;
      readonly readCap: ReadCap;
    }
  | { readonly kind: "folder"; readonly directory: string };

/** A builder: it may ping its directory and upload to it. */
export interface BuilderConfiguration {
  readonly name: string;
  readonly token: Secret;
  readonly directory: TreePath;
  /** Patterns of the package names that it may publish; undefined: every name that has no other owner. */
  readonly packages?: readonly string[] | undefined;
}

/** The table of one suite. */
export interface SuiteConfiguration {
  readonly codename?: string | undefined;
  readonly version?: string | undefined;
  readonly description?: string | undefined;
  readonly notAutomatic?: boolean | undefined;
  readonly butAutomaticUpgrades?: boolean | undefined;
  /** Whether Release names the keys that clients shall accept. */
  readonly signedBy?: boolean | undefined;
  /** How long clients may trust a Release; undefined: without limit. */
  readonly validForSeconds?: number | undefined;
  /** Undefined: the value of the repository; likewise for the next two. */
  readonly translations?: boolean | undefined;
  readonly pdiffs?: boolean | undefined;
  readonly contents?: boolean | undefined;
  /** "prebuilt": the indices in the tree are served unchanged; by default they are generated from the packages. */
  readonly indices?: "made" | "prebuilt" | undefined;
  /** Rules that hide some packages from the indices. */
  readonly view?: ViewRules | undefined;
  /** Who may publish a name that no builder's `packages` match; undefined: the value of the repository. */
  readonly packageOwners?: OwnerPolicy | undefined;
}

export interface RepositoryConfiguration {
  readonly name: RepositoryName;
  readonly tree: TreeConfiguration;
  readonly origin: string;
  readonly label: string;
  readonly description: string | undefined;
  /** The bundle with write caps for the directories of the tree that receive the indices; undefined: none do. */
  readonly publishBundleFile: string | undefined;
  /** The directory of a site of plain files that is updated after each publication; undefined: there is none. */
  readonly exportDirectory: string | undefined;
  /** Fields of packages that the indices override. */
  readonly overrides: readonly OverrideRule[];
  /** The directories of flat repositories, which always include the root of the tree. */
  readonly flat: readonly TreePath[];
  readonly suites: ReadonlyMap<string, SuiteConfiguration>;
  /** Who is told about publications. */
  readonly webhooks: readonly Webhook[];
  /** Whether long descriptions are in Translation-en instead of Packages. */
  readonly translations: boolean;
  /** Whether there are patches from the indices of earlier publications to the current ones. */
  readonly pdiffs: boolean;
  /** Whether there are Contents indices, which list the files of packages. */
  readonly contents: boolean;
  /** The digests in Packages and Sources, which always include SHA256. */
  readonly digests: readonly DigestAlgorithm[];
  /** The digests in Release, which always include SHA256. */
  readonly releaseDigests: readonly DigestAlgorithm[];
  /** The last Date that clients have seen, if the state directory was lost; in seconds since the epoch. */
  readonly datesAfterSeconds: number | undefined;
  /** How far Release's Date lags behind the newest link. */
  readonly dateLagSeconds: number;
  /** Armoured secret keys, all of which sign; if there are none, one is generated in the state directory. */
  readonly signingKeys: readonly { readonly file: string; readonly armored: Secret }[];
  /** The component with a generated package of the public keys, in every suite that has it; undefined: none. */
  readonly archiveKeyring: Component | undefined;
  /** The passphrases of the keys, in any order. */
  readonly signingPassphrases: readonly Secret[];
  /** Who may publish a name that no builder's `packages` match. */
  readonly packageOwners: OwnerPolicy;
  /**
   * Returns the current builders: the same array until they change. If there are none at the start, a token for the
   * whole tree is generated in the state directory.
   * @param complain receives complaints about a changed file of builders
   */
  readonly builders: (complain: (text: string) => void) => readonly BuilderConfiguration[];
  /** The readers of a private repository; if there are none, everybody may read. */
  readonly readers: readonly { readonly name: string; readonly password: Secret }[];
}

/** Limits on external input, by the stage that enforces them. */
export const defaultLimits = {
  tree: defaultTreeLimits,
  webapi: defaultWebapiLimits,
  listing: defaultListingLimits,
  folder: defaultFolderLimits,
  inspection: defaultInspectLimits,
  directory: defaultDirectoryLimits,
  changelog: defaultChangelogLimits,
  http: defaultHttpLimits,
  webhook: defaultWebhookLimits,
} as const;
export type Limits = typeof defaultLimits;

export interface Configuration {
  readonly listen: { readonly host: string; readonly port: number };
  /** The Valkey that several servers of the same repositories share; undefined: this server is alone. */
  readonly cluster: ValkeySettings | undefined;
  readonly stateDirectory: string;
  /** The base of the URLs on pages, without a trailing slash; undefined: taken from each request. */
  readonly publicUrl: string | undefined;
  /** Whether the last address in X-Forwarded-For is that of the client, and X-Forwarded-Proto its scheme. */
  readonly behindProxy: boolean;
  /** The token for the metrics; undefined: everybody may read them. */
  readonly metricsToken: Secret | undefined;
  /** Whether the identity of a suite may differ from what clients have seen, for this start. */
  readonly acceptIdentityChange: boolean;
  readonly pollSeconds: number;
  /** How long the files of a publication stay readable after the next publication. */
  readonly keepSeconds: number;
  /**
   * How often one package that is known by its entry's metadata alone is held against its bytes; 0: only when it is
   * fetched.
   */
  readonly scrubSeconds: number;
  /** How often all objects of a tree in a grid are checked and their leases renewed; 0: never. */
  readonly checkSeconds: number;
  /** The maximum disk space of the package cache. */
  readonly cacheBytes: number;
  readonly gracePeriodSeconds: number;
  /** Undefined: text on a terminal, and JSON otherwise. */
  readonly logFormat: LogFormat | undefined;
  readonly logLevel: LogLevel;
  /** Whether each request is logged. */
  readonly accessLog: boolean;
  /** How many processes serve HTTP beside the one that publishes; 0: that one serves it. */
  readonly workers: number;
  readonly limits: Limits;
  readonly repositories: readonly RepositoryConfiguration[];
  /** Warnings about values that are valid but unwise, each with its place. */
  readonly warnings: readonly string[];
}
