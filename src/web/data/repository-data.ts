// The interface between the pages and the JSON API on one side and a repository on the other: all queries about it.
import { RepoError } from "../../base/errors.ts";
import type { RepositoryName } from "../../base/names.ts";
import type { RejectCode } from "../../catalog/inspection/inspection.ts";
import type { sourceRelations } from "../../debian/apt-fields.ts";
import { binaryRelations } from "../../debian/apt-fields.ts";

/** A query is malformed, for example its cursor. */
export class BadQuery extends RepoError {
  readonly code = "request/malformed";
}

/**
 * The suites in the results have their public names: `sid`, or `./extras/` for a flat repository. All text fields of
 * packages are what their builders wrote: untrusted text, without control characters, of any length.
 */
export interface RepositoryData {
  readonly name: RepositoryName;
  /** Returns the values by which `packages` can be filtered, sorted by name. */
  filters(signal: AbortSignal): Promise<Filters>;
  /** Whether the index of packages is still being built, so that some packages are missing in the results. */
  isIndexing(): boolean;
  /** Finds packages by name. All packages without a text to search for. @throws BadQuery */
  packages(query: PackageQuery, signal: AbortSignal): Promise<FoundPage>;
  /** Returns a package as `packages` lists it; undefined if no suite lists it. */
  summary(name: string, signal: AbortSignal): Promise<PackageSummary | undefined>;
  /** Returns undefined if no suite lists a package of this name, and nothing else is known of it. */
  package(name: string, signal: AbortSignal): Promise<PackageDetail | undefined>;
  /** Returns the packages whose relations name a package, or something that it provides, sorted by name. @throws BadQuery */
  dependents(name: string, query: PageQuery, signal: AbortSignal): Promise<Page<Dependent>>;
  /**
   * Returns the list of files in a package.
   * @param sha256 of the .deb, as in `PackageFile`
   * @returns undefined if no suite lists this .deb, or its list of files is not known
   */
  files(sha256: string, signal: AbortSignal): Promise<FileListing | undefined>;
  /**
   * Returns the text of the changelog of a source package, at most `maxChangelogCharacters` of it.
   * @returns undefined if there is none, or it cannot be read
   */
  changelog(source: SourceVersion, signal: AbortSignal): Promise<Changelog | undefined>;
  /** Returns undefined if no suite lists a source package of this name, or a package that was built from it. */
  source(name: string, signal: AbortSignal): Promise<SourceDetail | undefined>;
  /** Returns the directories of builders that have packages in a suite, rejects or pending files, sorted by name. */
  builders(signal: AbortSignal): Promise<readonly BuilderSummary[]>;
  /** Returns undefined for a directory that `builders` does not return. @param directory as in `BuilderSummary` */
  builder(directory: string, signal: AbortSignal): Promise<BuilderDetail | undefined>;
  /** Returns the most recently linked packages and source packages, the newest first. @throws BadQuery */
  uploads(query: UploadQuery, signal: AbortSignal): Promise<Page<Upload>>;
  /** Returns the rejected files, sorted by path. @throws BadQuery */
  rejects(query: RejectQuery): Page<Reject>;
  /** Returns the files that are not in the indices yet. @throws BadQuery */
  pending(query: PageQuery): Page<PendingUpload>;
  /** Returns the snapshots by suite, the newest first, with their changes. @throws BadQuery */
  snapshots(query: SnapshotQuery, signal: AbortSignal): Promise<Page<Snapshot>>;
  /**
   * Compares two suites or snapshots.
   * @param from and `to`: `SUITE` for its current content, or `SUITE@SNAPSHOT`, where SNAPSHOT is an id, a time or the
   *   name of a pin
   * @returns undefined if one of them does not exist
   * @throws BadQuery
   */
  diff(query: DiffQuery, signal: AbortSignal): Promise<Diff | undefined>;
  health(): RepositoryHealth;
  /** Identifies the state of everything above: it changes with each publication, reject and pending file. */
  stateId(): string;
}

/** The longest text that `packages` searches for, in characters. */
export const maxSearchCharacters = 200;
/** The most packages that a search for a text lists. */
export const maxFoundPackages = 1000;
/** The most entries of one page. */
export const maxPageEntries = 200;
/** The entries of one page, unless a query says otherwise. */
export const defaultPageEntries = 50;
/** The most paths that `files` returns, and the most entries in any list of a detail that has a `total` beside it. */
export const maxListedEntries = 1000;
/** The longest changelog that `changelog` returns. */
export const maxChangelogCharacters = 200_000;

/** Selects a page of results. */
export interface PageQuery {
  /** The `next` of the previous page; undefined: the first page. */
  readonly cursor?: string | undefined;
  /** At least 1 and at most `maxPageEntries`; `defaultPageEntries` by default. */
  readonly limit?: number | undefined;
}

/** A page of results. */
export interface Page<Entry> {
  readonly entries: readonly Entry[];
  /** The number of results on all pages. */
  readonly total: number;
  /** The cursor of the next page; undefined on the last page. */
  readonly next: string | undefined;
}

/** A list that shows only its first entries if there are very many. */
export interface Cut<Entry> {
  readonly entries: readonly Entry[];
  /** The number of entries, also of those that are not shown. */
  readonly total: number;
}

export interface Filters {
  readonly suites: readonly string[];
  readonly components: readonly string[];
  readonly architectures: readonly string[];
  /** The directories of builders, as in `BuilderSummary`. */
  readonly builders: readonly string[];
}

export const packageOrders = ["relevance", "name", "time"] as const;
export type PackageOrder = (typeof packageOrders)[number];

export interface PackageFilter {
  readonly suite?: string | undefined;
  readonly component?: string | undefined;
  /** The packages of this architecture and of `all`. */
  readonly architecture?: string | undefined;
  readonly builder?: string | undefined;
}

export interface PackageQuery extends PageQuery, PackageFilter {
  /** Words, or beginnings of words, in names, descriptions, sources and maintainers; all of them must occur. */
  readonly text?: string | undefined;
  /** `relevance` by default, which without a text is the order of names. `time`: the newest upload first. */
  readonly sort?: PackageOrder | undefined;
}

/** A page of packages. A search for a text lists at most `maxFoundPackages` on all its pages. */
export interface FoundPage extends Page<PackageSummary> {
  /** Whether more packages match than are listed. */
  readonly hasMoreThanTotal: boolean;
}

/** A package in a list. */
export interface PackageSummary {
  readonly name: string;
  /** The first line of the description; "" if there is none. */
  readonly description: string;
  readonly section: string | undefined;
  /** The name of the source package. */
  readonly source: string;
  /** The newest version in each suite that matches the filter, sorted by the names of the suites. */
  readonly suites: readonly {
    readonly suite: string;
    readonly version: string;
    readonly components: readonly string[];
    readonly architectures: readonly string[];
  }[];
  /** The newest upload that matches the filter, in seconds since the epoch; undefined if unknown. */
  readonly uploadedSeconds: number | undefined;
}

export interface SourceVersion {
  readonly name: string;
  readonly version: string;
}

/** A person or list in a Maintainer field. */
export interface Person {
  readonly name: string;
  /** Undefined if the field contains no address. */
  readonly email: string | undefined;
}

export interface PackageDetail {
  readonly name: string;
  /** The newest version of all suites; its texts are the ones to show. Undefined if no suite lists the package. */
  readonly newest: PackageVersion | undefined;
  /** The suites that list the package, sorted by name. */
  readonly suites: readonly SuiteVersions[];
  /** The packages whose relations name this one or something that it provides; the others come from `dependents`. */
  readonly dependents: Cut<Dependent>;
  /** Uploads of this name that the indices do not list, with the reasons. */
  readonly hidden: Cut<HiddenPackage>;
  /** Versions in snapshots that are not current, the newest snapshot first. */
  readonly earlier: Cut<EarlierVersion>;
}

export interface SuiteVersions {
  readonly suite: string;
  /** The newest ones, sorted by Debian's order of versions, the newest first. */
  readonly versions: readonly PackageVersion[];
  /** The number of older versions that are not in `versions`. */
  readonly moreVersions: number;
}

/** One version of a package in one component of one suite. */
export interface PackageVersion {
  readonly suite: string;
  readonly component: string;
  readonly version: string;
  readonly source: SourceVersion;
  readonly section: string | undefined;
  readonly priority: string | undefined;
  readonly isEssential: boolean;
  readonly maintainer: Person | undefined;
  /** An http or https URL; undefined for everything else. */
  readonly homepage: string | undefined;
  readonly description: Description | undefined;
  /** The fields with relations of the file that is listed first; those of the other files may differ. */
  readonly relations: readonly RelationField[];
  /** One for each architecture, sorted by architecture. */
  readonly files: readonly PackageFile[];
  /** The percentage of machines that upgrade to it now; undefined if all do. */
  readonly phasedPercent: number | undefined;
}

export interface Description {
  /** The first line. */
  readonly short: string;
  /** The paragraphs after the first line. */
  readonly paragraphs: readonly DescriptionParagraph[];
}

/** Words that may be wrapped, or lines that must stay as they are. @see Debian Policy 5.6.13 */
export type DescriptionParagraph =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "verbatim"; readonly text: string };

export const relationFields = [...binaryRelations, "Built-Using"] as const;

export interface RelationField {
  readonly field: (typeof relationFields)[number] | (typeof sourceRelations)[number];
  /** Each group is a list of alternatives, one of which suffices. */
  readonly groups: readonly (readonly RelationAlternative[])[];
}

export interface RelationAlternative {
  /** Without an architecture qualifier. */
  readonly name: string;
  /** The architecture qualifier, e.g. `any`; undefined if there is none. */
  readonly qualifier: string | undefined;
  /** The rest as written, e.g. `(>= 2.36)`; "" if there is none. */
  readonly restriction: string;
  /**
   * `package`: the suite lists a package of this name. `provided`: only packages that provide it. `elsewhere`: another
   * suite lists a package of this name. `unknown`: neither; another repository may have it. Versions are not compared.
   */
  readonly resolved: "package" | "provided" | "elsewhere" | "unknown";
  /** The names of the packages that provide it, at most ten, sorted. */
  readonly providers: readonly string[];
}

export interface PackageFile {
  readonly architecture: string;
  /** The path below the repository's root, for a URL: it is escaped. */
  readonly path: string;
  readonly sizeBytes: number;
  /** The estimated size when it is installed; undefined if the package does not say. */
  readonly installedBytes: number | undefined;
  readonly sha256: string;
  /** When the file was linked, in seconds since the epoch; undefined if unknown. */
  readonly uploadedSeconds: number | undefined;
  /** The directory of the builder; undefined if the file is in no builder's directory. */
  readonly builder: string | undefined;
  /** Whether it is a .udeb, for debian-installer. */
  readonly isForInstaller: boolean;
}

/** A package whose relations name another one. */
export interface Dependent {
  readonly name: string;
  readonly suite: string;
  readonly version: string;
  readonly field: RelationField["field"];
  /** The name in its relation: that of the package, or of something that the package provides. */
  readonly on: string;
}

/** An upload that no index lists. */
export interface HiddenPackage {
  readonly suite: string;
  /** Undefined if only the name of the file is known. */
  readonly version: string | undefined;
  readonly architecture: string | undefined;
  /** The path in the tree. */
  readonly path: string;
  readonly reason:
    | { readonly kind: "view" }
    | { readonly kind: "rejected"; readonly code: RejectCode; readonly text: string; readonly advice: string }
    | { readonly kind: "pending"; readonly missing: readonly string[] };
}

/** A version that a snapshot lists and the current publication does not. */
export interface EarlierVersion {
  readonly suite: string;
  readonly version: string;
  readonly architecture: string;
  readonly component: string;
  /** The newest snapshot that lists it. */
  readonly snapshot: string;
  readonly snapshotSeconds: number;
}

export interface FileListing {
  readonly package: string;
  readonly version: string;
  readonly architecture: string;
  /** Absolute paths, sorted. */
  readonly paths: Cut<string>;
}

export interface Changelog {
  readonly text: string;
  /** Whether the end is missing, because the changelog is too long. */
  readonly isCut: boolean;
}

export interface SourceDetail {
  readonly name: string;
  /** The newest first, by suite. Empty if only packages that were built from it are known. */
  readonly suites: readonly { readonly suite: string; readonly versions: readonly SourcePackageVersion[] }[];
  /** The packages of all suites that were built from it, sorted by name. */
  readonly binaries: Cut<{ readonly name: string; readonly suite: string; readonly version: string }>;
}

export interface SourcePackageVersion {
  readonly suite: string;
  readonly component: string;
  readonly version: string;
  readonly section: string | undefined;
  readonly maintainer: Person | undefined;
  readonly uploaders: readonly Person[];
  readonly homepage: string | undefined;
  /** Where the packaging is developed, as http or https URL; undefined for everything else. */
  readonly vcsBrowser: string | undefined;
  readonly standardsVersion: string | undefined;
  readonly architectures: readonly string[];
  /** The names of the packages that it says it builds. */
  readonly binaries: readonly string[];
  readonly relations: readonly RelationField[];
  readonly files: readonly {
    readonly name: string;
    readonly path: string;
    readonly sizeBytes: number;
    readonly sha256: string;
  }[];
  readonly uploadedSeconds: number | undefined;
  readonly builder: string | undefined;
}

export interface BuilderSummary {
  /** The path of the directory in the tree, e.g. `dists/sid/main/binary-amd64/alice`. */
  readonly directory: string;
  readonly packages: number;
  readonly rejects: number;
  readonly pending: number;
  readonly lastUploadSeconds: number | undefined;
}

export interface BuilderDetail extends BuilderSummary {
  readonly uploads: Cut<Upload>;
  readonly rejected: Cut<Reject>;
  readonly waiting: Cut<PendingUpload>;
  readonly budgets: readonly Budget[];
}

/** How much of a limit a builder's directory uses. */
export interface Budget {
  /** The key in the configuration. */
  readonly limitKey: "max_directory_packages" | "max_directory_index_bytes" | "max_directory_variants";
  readonly used: number;
  readonly limit: number;
}

export interface UploadQuery extends PageQuery {
  readonly suite?: string | undefined;
  readonly builder?: string | undefined;
}

/** A package or source package that a suite lists. */
export interface Upload {
  readonly name: string;
  readonly isSource: boolean;
  readonly suite: string;
  readonly component: string;
  readonly version: string;
  /** `source` for a source package. */
  readonly architecture: string;
  /** The first line of the description; "" if there is none. */
  readonly description: string;
  readonly uploadedSeconds: number | undefined;
  readonly builder: string | undefined;
  readonly sizeBytes: number;
  /** Of the .deb or .dsc. */
  readonly sha256: string;
}

export interface RejectQuery extends PageQuery {
  readonly suite?: string | undefined;
  readonly builder?: string | undefined;
}

export interface Reject {
  /** The path in the tree. */
  readonly path: string;
  /** Undefined if the path is in no suite. */
  readonly suite: string | undefined;
  readonly builder: string | undefined;
  readonly code: RejectCode;
  readonly reason: string;
  /** Advice for its builder. */
  readonly advice: string;
}

export interface PendingUpload {
  readonly path: string;
  readonly builder: string | undefined;
  /** The names of the missing files of a source package. */
  readonly missing: readonly string[];
  readonly isBeingInspected: boolean;
}

export interface SnapshotQuery extends PageQuery {
  readonly suite?: string | undefined;
}

export interface Snapshot {
  readonly suite: string;
  readonly id: string;
  /** When it was first served, in seconds since the epoch. */
  readonly servedSeconds: number;
  readonly isCurrent: boolean;
  readonly pins: readonly string[];
  readonly binaryPackages: number;
  readonly sourcePackages: number;
  /** The changes since the previous snapshot; undefined for the oldest one of a suite. */
  readonly changes: SnapshotChanges | undefined;
}

export interface SnapshotChanges {
  readonly added: Cut<ListedVersion>;
  readonly removed: Cut<ListedVersion>;
}

/** A package as an index lists it. */
export interface ListedVersion {
  readonly name: string;
  readonly component: string;
  readonly version: string;
  /** `source` for a source package. */
  readonly architecture: string;
}

export interface DiffQuery extends PageQuery {
  readonly from: string;
  readonly to: string;
}

export interface Diff extends Page<Difference> {
  readonly from: DiffSide;
  readonly to: DiffSide;
  readonly counts: { readonly added: number; readonly removed: number; readonly changed: number };
}

export interface DiffSide {
  readonly suite: string;
  readonly snapshot: string;
  readonly isCurrent: boolean;
  readonly dateSeconds: number;
}

/** One package, architecture and component whose versions differ. */
export interface Difference {
  readonly kind: "added" | "removed" | "changed";
  readonly name: string;
  readonly component: string;
  readonly architecture: string;
  /** The versions that only this side has, the newest first. */
  readonly before: readonly string[];
  readonly after: readonly string[];
}

export interface RepositoryHealth {
  /** Why this repository cannot serve now; undefined if it can. */
  readonly notReady: string | undefined;
  /** The last failed refresh, until one succeeds. */
  readonly lastError: string | undefined;
  readonly notices: readonly string[];
  readonly suites: readonly {
    readonly suite: string;
    readonly publishedSeconds: number;
    /** When clients stop to accept the current Release; undefined: never. */
    readonly validUntilSeconds: number | undefined;
    /** Whether Contents or pdiffs of the current publication are still being generated. */
    readonly isAwaitingDeferredFiles: boolean;
    readonly rolledBackTo: string | undefined;
  }[];
  readonly keys: readonly { readonly fingerprint: string; readonly expiresSeconds: number | undefined }[];
  readonly rejects: number;
  readonly pending: number;
  /** Undefined for a local folder. */
  readonly grid: GridHealth | undefined;
}

export interface GridHealth {
  /**
   * In the order of the configuration. Their addresses are not shown. A gateway counts as reachable until a request to it
   * fails: others than the first one get requests only if those before them fail.
   */
  readonly gateways: readonly { readonly number: number; readonly isReachable: boolean }[];
  /** The last complete check of all objects; undefined if there was none. */
  readonly lastCheck:
    | {
        readonly endedSeconds: number;
        readonly healthy: number;
        readonly unhealthy: number;
        readonly lost: number;
        readonly unchecked: number;
      }
    | undefined;
}
