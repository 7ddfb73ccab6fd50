// The settings of one suite, named as in the configuration file.
import type { Suite } from "../base/names.ts";
import type { Overrides } from "../catalog/suite/overrides.ts";
import type { OwnerRules } from "../catalog/suite/owner-rules.ts";
import type { ViewRules } from "../catalog/suite/suite-view.ts";
import type { Release } from "../indices/release.ts";

/**
 * The fields of Release that describe the suite itself. APT refuses an update if it knows other values of some of them.
 * @see apt-secure(8), on changes of a repository
 */
export type SuiteIdentity = Pick<
  Release,
  | "origin"
  | "label"
  | "codename"
  | "version"
  | "description"
  | "notAutomatic"
  | "butAutomaticUpgrades"
  | "changelogs"
  | "snapshots"
>;

/** The settings of one suite: its table in the configuration, completed with the values of its repository. */
export interface SuiteSettings {
  readonly identity: SuiteIdentity;
  /** How long clients may trust a Release, which is renewed in time; undefined: without limit. */
  readonly validForSeconds: number | undefined;
  /** Whether Release names the keys that clients shall accept. APT evaluates that only beside a Valid-Until. */
  readonly signedBy: boolean;
  /** Whether long descriptions are in Translation-en instead of Packages. */
  readonly translations: boolean;
  /** Whether the suite has Contents indices. They need the file lists of packages, which the inspector must collect. */
  readonly contents: boolean;
  /** Whether patches lead from the indices of earlier publications to the current ones. */
  readonly pdiffs: boolean;
  /** "prebuilt": the indices in the tree are served unchanged; "made": they are generated from the packages. */
  readonly indices: "made" | "prebuilt";
  /** Rules that hide some packages from the indices; undefined: there are none. */
  readonly view: ViewRules | undefined;
  /**
   * Returns who may publish which names now, since builders can be added to a file while the server runs.
   * @returns the same object until the rules change; undefined if everybody may publish every name
   */
  ownerRules(): OwnerRules | undefined;
  /**
   * Returns which fields the indices override now, since commands can change them while the server runs.
   * @returns the same object until the rules change
   */
  overrides(): Overrides;
}

/** The settings of every suite of one repository, also of suites that the configuration does not mention. */
export interface SuiteSettingsProvider {
  of(suite: Suite): SuiteSettings;
}
