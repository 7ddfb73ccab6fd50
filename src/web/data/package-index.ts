// The interface of the index of packages: queries about the packages in the current publications, and the text search.
import type { Cut, Filters, PackageFilter, PackageOrder, RelationField } from "./repository-data.ts";

/** A package or source package that a suite lists. Very long fields are shortened. */
export interface ListedRow {
  /** The public name. */
  readonly suite: string;
  readonly component: string;
  readonly name: string;
  readonly version: string;
  /** `source` for a source package. */
  readonly architecture: string;
  readonly isSource: boolean;
  readonly isForInstaller: boolean;
  readonly source: string;
  readonly sourceVersion: string;
  readonly section: string;
  /** The first line of the description; "" if there is none. */
  readonly description: string;
  /** In ms since the epoch; 0 if unknown. */
  readonly uploadedMs: number;
  /** The directory in the tree; "" if unknown. */
  readonly directory: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  /** Of the .deb or .dsc, below the repository's root. */
  readonly path: string;
  /** Where the stanza is. */
  readonly place: StanzaPlace;
}

/** The position of a stanza in a segment, in bytes. */
export interface StanzaPlace {
  readonly segment: string;
  readonly start: number;
  readonly end: number;
}

/** The position of a page in a list, which cursors encode. */
export interface Slice {
  readonly skip: number;
  readonly limit: number;
}

export interface PackageSearch extends Slice, PackageFilter {
  readonly text: string;
  readonly sort: PackageOrder;
}

/** The rows of each package. A search for a text lists at most `maxFoundPackages`. */
export interface FoundPackages extends Cut<readonly ListedRow[]> {
  /** Whether more packages match than are listed. */
  readonly hasMoreThanTotal: boolean;
}

export interface UploadSearch extends Slice {
  readonly suite?: string | undefined;
  readonly directory?: string | undefined;
}

/** A row whose relations name a package. */
export interface DependentRow {
  readonly row: ListedRow;
  readonly field: RelationField["field"];
  readonly on: string;
}

export interface PackageIndex {
  /** Whether all current publications are indexed; otherwise results may lack packages. */
  readonly isComplete: boolean;
  filters(signal: AbortSignal): Promise<Filters>;
  /** Finds binary packages. @returns their rows that match the filter, grouped by name in the order of the search */
  search(query: PackageSearch, signal: AbortSignal): Promise<FoundPackages>;
  /** The rows of binary packages of this name. */
  binaries(name: string, signal: AbortSignal): Promise<readonly ListedRow[]>;
  /** The rows of a source package, and the first rows of the packages that were built from it. */
  source(
    name: string,
    signal: AbortSignal,
  ): Promise<{ readonly sources: readonly ListedRow[]; readonly built: Cut<ListedRow> }>;
  bySha256(sha256: string, signal: AbortSignal): Promise<ListedRow | undefined>;
  /** The rows whose relations contain one of these names, sorted by name, suite and version. */
  dependents(names: readonly string[], slice: Slice, signal: AbortSignal): Promise<Cut<DependentRow>>;
  /** For each of these names, the suites that list such a package, and the packages that provide it. */
  resolve(names: readonly string[], signal: AbortSignal): Promise<ReadonlyMap<string, ResolvedName>>;
  /** The whole descriptions in Translation-en with these MD5 digests, by digest. */
  descriptions(md5s: readonly string[], signal: AbortSignal): Promise<ReadonlyMap<string, string>>;
  /** All rows, the most recently uploaded first, or those at or below a directory. */
  uploads(query: UploadSearch, signal: AbortSignal): Promise<Cut<ListedRow>>;
  /** The directories in the tree that contain listed packages. */
  directories(signal: AbortSignal): Promise<readonly DirectoryCount[]>;
}

export type QueryName = Exclude<keyof PackageIndex, "isComplete">;

export interface ResolvedName {
  readonly suites: readonly string[];
  readonly providers: readonly { readonly name: string; readonly suite: string }[];
}

export interface DirectoryCount {
  readonly directory: string;
  readonly rows: number;
  readonly uploadedMs: number;
}
