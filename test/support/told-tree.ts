// A tree whose listings have metadata beside some links, as their uploaders put it there.
import { rootPath } from "../../src/base/names.ts";
import type { Entry, Node, Tree } from "../../src/storage/tree.ts";

/** @param said by the path of the file; what is put in later shows at the next look */
export function lookTold(tree: Tree, said: ReadonlyMap<string, unknown>): Tree["look"] {
  const told = <Any extends Entry | Node>(path: string, entry: Any): Any =>
    entry.kind === "file" && said.has(path) ? { ...entry, metadata: structuredClone(said.get(path)) } : entry;
  return async (path, signal) => {
    const node = await tree.look(path, signal);
    if (node?.kind !== "directory") return node && told(path, node);
    const at = (name: string) => (path === rootPath ? name : `${path}/${name}`);
    return { kind: "directory", entries: new Map([...node.entries].map(([name, one]) => [name, told(at(name), one)])) };
  };
}
