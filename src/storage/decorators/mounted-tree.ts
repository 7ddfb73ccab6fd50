// A tree that consists of several mounted trees, for a builder with caps of several directories.
import type { TreePath } from "../../base/names.ts";
import { isWithin, pathNames, pathWithin } from "../../base/names.ts";
import type { ByteRange, Directory, DirectoryEntry, FileRef, Node, Tree } from "../tree.ts";
import { ContentGone } from "../tree.ts";

/** A tree and its mount point. */
export interface Mount {
  readonly at: TreePath;
  /** Its root is shown at `at`. */
  readonly tree: Tree;
}

/** Shows each mounted tree at its mount point, and the directories above the mount points. */
export class MountedTree implements Tree {
  readonly #mounts: readonly Mount[];

  /** @param mounts none may be within another */
  constructor(mounts: readonly Mount[]) {
    this.#mounts = mounts;
  }

  async look(path: TreePath, signal: AbortSignal): Promise<Node | undefined> {
    const mount = this.#mountOf(path);
    if (mount !== undefined) return await mount.tree.look(pathWithin(path, mount.at), signal);
    return this.#parentDirectory(path);
  }

  async *open(file: FileRef, range: ByteRange | undefined, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const mount = this.#mountOf(file.path);
    if (mount === undefined) throw new ContentGone(file.path);
    yield* mount.tree.open({ ...file, path: pathWithin(file.path, mount.at) }, range, signal);
  }

  #mountOf(path: TreePath): Mount | undefined {
    return this.#mounts.find(({ at }) => isWithin(path, at));
  }

  /** A directory above mount points, which contains only the way to these. */
  #parentDirectory(path: TreePath): Directory | undefined {
    const below = this.#mounts.filter(({ at }) => isWithin(at, path));
    if (below.length === 0) return undefined;
    const depth = pathNames(path).length;
    const entries = below.map(({ at }): [string, DirectoryEntry] => [
      pathNames(at)[depth] ?? "",
      { kind: "directory" },
    ]);
    return { kind: "directory", entries: new Map(entries) };
  }
}
