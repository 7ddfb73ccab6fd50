// The shape of a tree as its owner makes it: places, a directory per builder in each, and a builder's end.
import type { TreePath } from "../base/names.ts";
import { joinPath, lastName, NameError, parentPath, parseTreePath, rootPath } from "../base/names.ts";
import type { Layout, PackageDirectory } from "../catalog/layout/repository-layout.ts";
import { distsPath } from "../catalog/layout/repository-layout.ts";
import type { WriteCap } from "../storage/tahoe/caps.ts";
import type { Link, WebapiWriter } from "../storage/tahoe/webapi-writer.ts";
import type { BundleDirectory } from "./bundle.ts";
import { layoutFor } from "./suites-with-slash.ts";
import type { WriteGateways } from "./write-gateways.ts";

/** What a suite is made of. */
export interface SuiteParts {
  readonly suite: string;
  readonly components: readonly string[];
  readonly architectures: readonly string[];
}

/** Directories below a builder's own, as deep as a server looks. */
const maxDepth = 16;

/**
 * The places of a suite: sources and, for each architecture and `all`, binaries.
 * @throws NameError
 */
export function placesOf({ suite, components, architectures }: SuiteParts): readonly TreePath[] {
  const layout = layoutFor({}, undefined, [suite]);
  const leaves = ["source", ...new Set([...architectures, "all"].map((architecture) => `binary-${architecture}`))];
  return components.flatMap((component) =>
    leaves.map((leaf) => {
      const path = parseTreePath(`dists/${suite}/${component}/${leaf}`);
      if (layout.packageDirectoryOf(path)?.suite !== suite)
        throw new NameError(`${path} has a name in it that no suite, component or architecture has`);
      return path;
    }),
  );
}

/** @returns undefined for a name that makes no file and no directory everywhere */
export const tryParseBuilderName = (raw: string): string | undefined =>
  /^[a-z0-9][a-z0-9.+_-]{0,63}$/i.test(raw) ? raw : undefined;

/** A tree in the hands of who holds the write cap of its root. Every change can be made again after an interruption. */
export class OwnedTree {
  readonly #gateways: WriteGateways;
  readonly #root: WriteCap;
  readonly #signal: AbortSignal;

  constructor(gateways: WriteGateways, root: WriteCap, signal: AbortSignal) {
    this.#gateways = gateways;
    this.#root = root;
    this.#signal = signal;
  }

  /** Every place that the tree has, sorted. @param layout tells suites with a slash from components */
  async places(layout: Layout): Promise<readonly { readonly path: TreePath; readonly place: PackageDirectory }[]> {
    const found: { readonly path: TreePath; readonly place: PackageDirectory }[] = [];
    const walk = async (path: TreePath): Promise<void> => {
      const place = layout.packageDirectoryOf(path);
      if (place !== undefined) found.push({ path, place });
      else if (layout.mayHoldPackages(path)) for (const each of await this.#directoriesIn(path)) await walk(each);
    };
    await walk(distsPath);
    return found.toSorted((one, two) => (one.path < two.path ? -1 : 1));
  }

  /** Makes what is missing of these directories. */
  async make(paths: readonly TreePath[]): Promise<readonly BundleDirectory[]> {
    const made: BundleDirectory[] = [];
    for (const path of paths) {
      made.push({ path, cap: await this.#change((writer) => writer.makeDirectory(this.#root, path, this.#signal)) });
    }
    return made;
  }

  /**
   * Takes a directory out of the hands of whoever holds its write cap: another one takes its place, with the links of
   * the old one, also of the directories below, whose caps stand in it.
   * @returns what could not be kept because its bytes can still be changed
   */
  async replace(path: TreePath): Promise<readonly TreePath[]> {
    const leftOut: TreePath[] = [];
    await this.#change(async (writer) => {
      leftOut.length = 0;
      const old = await writer.directoryAt(this.#root, path, this.#signal);
      const parent = await writer.directoryAt(this.#root, parentPath(path), this.#signal);
      if (old === undefined || parent === undefined) return;
      const copy = await this.#copy(writer, { path, cap: old }, maxDepth, leftOut);
      await writer.linkDirectory(parent, lastName(path), copy, this.#signal);
    });
    return leftOut;
  }

  async drop(path: TreePath): Promise<void> {
    await this.#change((writer) => writer.unlink(this.#root, path, this.#signal));
  }

  /** The directories directly in a directory; none where there is no such directory. */
  async #directoriesIn(path: TreePath): Promise<readonly TreePath[]> {
    return await this.#change(async (writer) => {
      const cap = await writer.directoryAt(this.#root, path, this.#signal);
      const entries = cap === undefined ? [] : [...(await writer.list(cap, this.#signal))];
      return entries.filter(([, { kind }]) => kind === "directory").map(([name]) => joinPath(path, name));
    });
  }

  async #copy(writer: WebapiWriter, from: BundleDirectory, levels: number, leftOut: TreePath[]): Promise<WriteCap> {
    const copy = await writer.createDirectory(this.#signal);
    const links = new Map<string, Link>();
    for (const [name, entry] of await writer.list(from.cap, this.#signal)) {
      const path = joinPath(from.path, name);
      if (entry.kind === "file" && entry.content !== undefined) {
        links.set(name, { content: entry.content, metadata: entry.metadata });
        continue;
      }
      const below = await writer.directoryAt(from.cap, joinPath(rootPath, name), this.#signal);
      if (entry.kind !== "directory" || below === undefined || levels === 0) leftOut.push(path);
      else
        await writer.linkDirectory(
          copy,
          name,
          await this.#copy(writer, { path, cap: below }, levels - 1, leftOut),
          this.#signal,
        );
    }
    if (links.size > 0) await writer.link(copy, links, this.#signal);
    return copy;
  }

  async #change<T>(change: (writer: WebapiWriter) => Promise<T>): Promise<T> {
    return await this.#gateways.change(change, this.#signal);
  }
}
