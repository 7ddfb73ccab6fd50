// Changes by the tree's owner: creates package directories and builders' directories in them, and revokes write access.
import type { TreePath } from "../base/names.ts";
import { joinPath, lastName, NameError, parentPath, parseTreePath, rootPath } from "../base/names.ts";
import type { Layout, PackageDirectory } from "../catalog/layout/repository-layout.ts";
import { distsPath } from "../catalog/layout/repository-layout.ts";
import type { WriteCap } from "../storage/tahoe/caps.ts";
import type { Link, WebapiWriter } from "../storage/tahoe/webapi-writer.ts";
import type { BundleDirectory } from "./bundle.ts";
import { layoutFor } from "./suites-with-slash.ts";
import type { WriteGateways } from "./write-gateways.ts";

/** The components and architectures of a suite. */
export interface SuiteDefinition {
  readonly suite: string;
  readonly components: readonly string[];
  readonly architectures: readonly string[];
}

/** How many levels below a builder's directory are copied: as many as the server reads. */
const maxDepth = 16;

/**
 * The package directories of a suite: for each component one for sources, and one for each architecture and `all`.
 * @throws NameError
 */
export function packageDirectoriesOf({ suite, components, architectures }: SuiteDefinition): readonly TreePath[] {
  const layout = layoutFor({}, undefined, [suite]);
  const leaves = ["source", ...new Set([...architectures, "all"].map((architecture) => `binary-${architecture}`))];
  return components.flatMap((component) =>
    leaves.map((leaf) => {
      const path = parseTreePath(`dists/${suite}/${component}/${leaf}`);
      if (layout.packageDirectoryOf(path)?.suite !== suite)
        throw new NameError(`${path} contains a name that cannot be a suite, component or architecture`);
      return path;
    }),
  );
}

/** @returns undefined if the name is not usable as a file and directory name on every system */
export const tryParseBuilderName = (raw: string): string | undefined =>
  /^[a-z0-9][a-z0-9.+_-]{0,63}$/i.test(raw) ? raw : undefined;

/** A tree, changed with the write cap of its root. Every change can be repeated after an interruption. */
export class OwnedTree {
  readonly #gateways: WriteGateways;
  readonly #root: WriteCap;
  readonly #signal: AbortSignal;

  constructor(gateways: WriteGateways, root: WriteCap, signal: AbortSignal) {
    this.#gateways = gateways;
    this.#root = root;
    this.#signal = signal;
  }

  /** Lists all package directories, sorted by path. @param layout distinguishes suites with a slash from components */
  async packageDirectories(
    layout: Layout,
  ): Promise<readonly { readonly path: TreePath; readonly location: PackageDirectory }[]> {
    const found: { readonly path: TreePath; readonly location: PackageDirectory }[] = [];
    const walk = async (path: TreePath): Promise<void> => {
      const location = layout.packageDirectoryOf(path);
      if (location !== undefined) found.push({ path, location });
      else if (layout.mayHoldPackages(path)) for (const each of await this.#directoriesIn(path)) await walk(each);
    };
    await walk(distsPath);
    return found.toSorted((one, two) => (one.path < two.path ? -1 : 1));
  }

  /** Creates these directories unless they exist. */
  async createDirectories(paths: readonly TreePath[]): Promise<readonly BundleDirectory[]> {
    const created: BundleDirectory[] = [];
    for (const path of paths) {
      created.push({ path, cap: await this.#retry((writer) => writer.makeDirectory(this.#root, path, this.#signal)) });
    }
    return created;
  }

  /**
   * Revokes the existing write cap of a directory: replaces the directory by a copy with a new cap. Subdirectories are
   * copied too, because the old directory contains their caps.
   * @returns paths that are not in the copy, because the holder of the old caps can still change them
   */
  async replace(path: TreePath): Promise<readonly TreePath[]> {
    const omitted: TreePath[] = [];
    await this.#retry(async (writer) => {
      omitted.length = 0;
      const old = await writer.directoryAt(this.#root, path, this.#signal);
      const parent = await writer.directoryAt(this.#root, parentPath(path), this.#signal);
      if (old === undefined || parent === undefined) return;
      const copy = await this.#copy(writer, { path, cap: old }, maxDepth, omitted);
      await writer.linkDirectory(parent, lastName(path), copy, this.#signal);
    });
    return omitted;
  }

  async remove(path: TreePath): Promise<void> {
    await this.#retry((writer) => writer.unlink(this.#root, path, this.#signal));
  }

  /** The direct subdirectories; empty if there is no such directory. */
  async #directoriesIn(path: TreePath): Promise<readonly TreePath[]> {
    return await this.#retry(async (writer) => {
      const cap = await writer.directoryAt(this.#root, path, this.#signal);
      const entries = cap === undefined ? [] : [...(await writer.list(cap, this.#signal))];
      return entries.filter(([, { kind }]) => kind === "directory").map(([name]) => joinPath(path, name));
    });
  }

  async #copy(writer: WebapiWriter, from: BundleDirectory, levels: number, omitted: TreePath[]): Promise<WriteCap> {
    const copy = await writer.createDirectory(this.#signal);
    const links = new Map<string, Link>();
    for (const [name, entry] of await writer.list(from.cap, this.#signal)) {
      const path = joinPath(from.path, name);
      if (entry.kind === "file" && entry.content !== undefined) {
        links.set(name, { content: entry.content, metadata: entry.metadata });
        continue;
      }
      const below = await writer.directoryAt(from.cap, joinPath(rootPath, name), this.#signal);
      if (entry.kind !== "directory" || below === undefined || levels === 0) omitted.push(path);
      else
        await writer.linkDirectory(
          copy,
          name,
          await this.#copy(writer, { path, cap: below }, levels - 1, omitted),
          this.#signal,
        );
    }
    if (links.size > 0) await writer.link(copy, links, this.#signal);
    return copy;
  }

  async #retry<T>(operation: (writer: WebapiWriter) => Promise<T>): Promise<T> {
    return await this.#gateways.retry(operation, this.#signal);
  }
}
