// A repository in a local directory. Links that lead out of it are never followed.
import { lstat, realpath } from "node:fs/promises";
import { join } from "node:path";
import type { TreePath } from "../base/names.ts";
import { joinPath, parseTreePath, pathNames } from "../base/names.ts";
import { FolderTree } from "../storage/folder/folder-tree.ts";
import type { LocalFile, LocalFileLocation } from "../storage/local-file.ts";
import type { FileEntry } from "../storage/tree.ts";
import type { RepositoryFiles } from "./repository-files.ts";
import { UnusableRepository } from "./unusable-repository.ts";

/** How many names a suite may have: `bookworm/updates` has two. */
const maxSuiteNames = 3;

export class LocalDirectory implements RepositoryFiles {
  readonly address: string;
  readonly #tree: FolderTree;
  readonly #signal: AbortSignal;
  #root: string | undefined;

  constructor(directory: string, signal: AbortSignal) {
    this.address = directory;
    this.#tree = new FolderTree(directory);
    this.#signal = signal;
  }

  async open(path: string, maxBytes: number): Promise<AsyncIterable<Uint8Array> | undefined> {
    const file = await this.#fileAt(path);
    if (file === undefined) return undefined;
    const { content } = file;
    return this.#tree.open({ path: parseTreePath(path), content }, { start: 0, end: maxBytes }, this.#signal);
  }

  async localFile(path: string): Promise<LocalFile | undefined> {
    const file = await this.#fileAt(path);
    return file && this.#tree.localFile({ path: parseTreePath(path), content: file.content });
  }

  async locationOf(path: string): Promise<LocalFileLocation> {
    this.#root ??= await realpath(this.address);
    const root = this.#root;
    return { root, path: join(root, parseTreePath(path)), fileIdentity: undefined, hardLinkPath: undefined };
  }

  /** Symbolic links, such as `stable`, are other names of suites and left out. */
  async suites(): Promise<readonly string[]> {
    const found: string[] = [];
    const walk = async (path: TreePath): Promise<void> => {
      const node = await this.#tree.look(path, this.#signal);
      const entries = node?.kind === "directory" ? node.entries : new Map<string, never>();
      const names = pathNames(path).slice(1);
      if (names.length > 0 && (entries.has("InRelease") || entries.has("Release"))) {
        found.push(names.join("/"));
        return;
      }
      if (names.length === maxSuiteNames) return;
      for (const [name, { kind }] of entries) {
        const below = joinPath(path, name);
        if (kind === "directory" && !(await lstat(join(this.address, below))).isSymbolicLink()) await walk(below);
      }
    };
    await walk(parseTreePath("dists"));
    return found.toSorted();
  }

  async #fileAt(path: string): Promise<FileEntry | undefined> {
    const node = await this.#tree.look(parseTreePath(path), this.#signal);
    if (node?.kind === "other") throw new UnusableRepository("upstream/outside", path, `it is ${node.reason}`);
    return node?.kind === "file" ? node : undefined;
  }
}
