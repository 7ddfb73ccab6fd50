// Where an import puts packages: the interface that a folder and a grid implement.
import type { TreePath } from "../../base/names.ts";
import type { Inspection, PackageKind } from "../../catalog/inspection/inspection.ts";
import type { PackageDirectory } from "../../catalog/layout/repository-layout.ts";
import type { UpstreamFile } from "../../upstream/package-index.ts";
import type { RepositoryFiles } from "../../upstream/repository-files.ts";
import type { ImportRecord, RecordedFile } from "./import-record.ts";

/** A directory of the tree as it is before the import. */
export interface TargetDirectory {
  readonly names: ReadonlySet<string>;
  /** The record of earlier imports from the same repository. */
  readonly record: ImportRecord | undefined;
  /** @returns undefined if this name is not a file, or only its upload can tell */
  sha256Of(name: string): Promise<string | undefined>;
}

/** A file of the repository that the tree does not have yet. */
export interface WantedFile extends UpstreamFile {
  readonly kind: PackageKind;
}

/** A file that is stored, but not yet published under the name `name`. */
export interface StoredFile {
  readonly name: string;
  readonly file: WantedFile;
}

/** The changes of one directory. */
export interface DirectoryChange {
  readonly path: TreePath;
  /** In this order. Each was stored before. */
  readonly added: readonly StoredFile[];
  /** The files to remove, with the packages that they belong to. */
  readonly removed: ReadonlyMap<string, RecordedFile>;
  readonly recordName: string;
  /** The record after the change. */
  readonly record: ImportRecord;
}

/** All methods throw the errors of storage, and `signal.reason`. */
export interface ImportTarget {
  /** @returns undefined if packages of this location cannot be put anywhere */
  directoryFor(location: PackageDirectory): TreePath | undefined;
  /** Reads a directory; it may be missing. */
  look(path: TreePath, recordName: string): Promise<TargetDirectory>;
  /**
   * Stores a file without publishing it, and inspects it. May be called for many files at the same time.
   * @param stored called with the number of bytes that were stored; negative if it starts again
   * @throws UnusableRepository if size or SHA256 differ from the ones in the index
   */
  store(file: WantedFile, source: RepositoryFiles, stored: (bytes: number) => void): Promise<Inspection>;
  /** Publishes stored files. Creates missing directories. */
  change(changes: readonly DirectoryChange[], empty: readonly TreePath[]): Promise<void>;
  /** Removes what was stored for an import that has ended. */
  close(): Promise<void>;
}
