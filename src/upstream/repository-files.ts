// The files of a repository that somebody else publishes, from a URL or a local directory.
import type { LocalFile, LocalFileLocation } from "../storage/local-file.ts";

/** Paths are relative to the repository's root, with single slashes. */
export interface RepositoryFiles {
  /** The URL or the absolute path of the repository's root. */
  readonly address: string;
  /**
   * Opens a file. The stream must be read to its end or closed.
   * @param maxBytes the stream ends after this size
   * @returns undefined if there is no such file
   * @throws if the repository cannot be read; also while iterating
   */
  open(path: string, maxBytes: number): Promise<AsyncIterable<Uint8Array> | undefined>;
  /** The same file for a worker thread that reads it itself. Only local repositories have this method. */
  localFile?(path: string): Promise<LocalFile | undefined>;
  /**
   * Where a worker thread finds a file. Nothing is checked yet, not even whether there is such a file: if the worker
   * cannot read it, `open` says why. Only local repositories have this method.
   */
  locationOf?(path: string): Promise<LocalFileLocation>;
  /** The suites in the directory `dists`. Only local repositories have this method: HTTP has no listings. */
  suites?(): Promise<readonly string[]>;
}

/** @returns the whole file, or its first `maxBytes + 1` bytes if it is longer; undefined if there is no such file */
export async function readWhole(files: RepositoryFiles, path: string, maxBytes: number): Promise<Buffer | undefined> {
  const content = await files.open(path, maxBytes + 1);
  if (content === undefined) return undefined;
  const chunks: Uint8Array[] = [];
  for await (const chunk of content) chunks.push(chunk);
  return Buffer.concat(chunks);
}
