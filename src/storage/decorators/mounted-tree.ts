// A tree of which only some directories can be seen, each at its own place: what the bearer of several caps sees.
import type { TreePath } from "../../base/names.ts";
import { isWithin, pathNames, pathWithin } from "../../base/names.ts";
import type { ByteRange, Directory, DirectoryEntry, FileRef, Node, Tree } from "../tree.ts";
import { ContentGone } from "../tree.ts";

export interface Mount {
  readonly at: TreePath;
  /** Its root stands at `at`. */
  readonly tree: Tree;
}

export class MountedTree implements Tree {
  readonly #mounts: readonly Mount[];

  /** @param mounts none within another */
  constructor(mounts: readonly Mount[]) {
    this.#mounts = mounts;
  }

  async look(path: TreePath, signal: AbortSignal): Promise<Node | undefined> {
    const mount = this.#mountOf(path);
    if (mount !== undefined) return await mount.tree.look(pathWithin(path, mount.at), signal);
    return this.#above(path);
  }

  async *open(file: FileRef, range: ByteRange | undefined, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const mount = this.#mountOf(file.path);
    if (mount === undefined) throw new ContentGone(file.path);
    yield* mount.tree.open({ ...file, path: pathWithin(file.path, mount.at) }, range, signal);
  }

  #mountOf(path: TreePath): Mount | undefined {
    return this.#mounts.find(({ at }) => isWithin(path, at));
  }

  /** The way to the mounts: directories that hold nothing else. */
  #above(path: TreePath): Directory | undefined {
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
