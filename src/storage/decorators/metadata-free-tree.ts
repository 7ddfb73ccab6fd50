// A decorator that removes the metadata of uploaders from the listings of a tree.
import type { Entry, Node, Tree } from "../tree.ts";

const withoutMetadata = (entry: Entry): Entry => (entry.kind === "file" ? { ...entry, metadata: undefined } : entry);

/** For configurations that do not trust uploaders' metadata: every package is read. */
export const withoutEntryMetadata = (tree: Tree): Tree => ({
  async look(path, signal): Promise<Node | undefined> {
    const node = await tree.look(path, signal);
    if (node?.kind === "file") return { ...node, metadata: undefined };
    if (node?.kind !== "directory") return node;
    return { ...node, entries: new Map([...node.entries].map(([name, entry]) => [name, withoutMetadata(entry)])) };
  },
  open: (file, range, signal) => tree.open(file, range, signal),
});
