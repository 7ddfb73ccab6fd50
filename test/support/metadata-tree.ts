// A tree whose listings contain entry metadata for some links, as if uploaders had stored it there.
import { rootPath } from "../../src/base/names.ts";
import type { Entry, Node, Tree } from "../../src/storage/tree.ts";

/** @param metadata by the path of the file; later changes show at the next listing */
export function lookWithMetadata(tree: Tree, metadata: ReadonlyMap<string, unknown>): Tree["look"] {
  const withMetadata = <Any extends Entry | Node>(path: string, entry: Any): Any =>
    entry.kind === "file" && metadata.has(path) ? { ...entry, metadata: structuredClone(metadata.get(path)) } : entry;
  return async (path, signal) => {
    const node = await tree.look(path, signal);
    if (node?.kind !== "directory") return node && withMetadata(path, node);
    const at = (name: string) => (path === rootPath ? name : `${path}/${name}`);
    return {
      kind: "directory",
      entries: new Map([...node.entries].map(([name, entry]) => [name, withMetadata(at(name), entry)])),
    };
  };
}
