// A temporary folder as the subject of the tree contract.
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { FolderTree } from "../../src/storage/folder/folder-tree.ts";
import type { Tree } from "../../src/storage/tree.ts";
import type { TreeSubject } from "./tree-contract.ts";

/**
 * @param wrap adds decorators to the folder's tree
 * @param readsLocally whether the decorated tree lets threads read files themselves
 */
export async function folderSubject(
  wrap: (tree: Tree) => Tree = (tree) => tree,
  readsLocally = false,
): Promise<TreeSubject> {
  const root = await mkdtemp(join(tmpdir(), "tahoe-apt-folder-"));
  let drawn = 0;
  const folder = new FolderTree(root);
  const counted: Tree = {
    look: (path, signal) => folder.look(path, signal),
    localFile: (file) => folder.localFile(file),
    async *open(file, range, signal) {
      for await (const chunk of folder.open(file, range, signal)) {
        drawn += chunk.length;
        yield chunk;
      }
    },
  };
  return {
    tree: wrap(counted),
    async put(path, bytes) {
      await mkdir(dirname(join(root, path)), { recursive: true });
      await writeFile(join(root, path), bytes);
    },
    async makeDirectory(path) {
      await mkdir(join(root, path), { recursive: true });
    },
    remove: (path) => rm(join(root, path), { recursive: true }),
    keepsUnlinked: false,
    readsLocally,
    bytesDrawn: () => drawn,
    end: () => rm(root, { recursive: true, force: true }),
  };
}
