// A tree as its listings alone tell it: without the words that uploaders left beside their links.
import type { Entry, Node, Tree } from "../tree.ts";

const bare = (entry: Entry): Entry => (entry.kind === "file" ? { ...entry, metadata: undefined } : entry);

/** For who believes nobody: every package is read. */
export const withoutEntryMetadata = (tree: Tree): Tree => ({
  async look(path, signal): Promise<Node | undefined> {
    const node = await tree.look(path, signal);
    if (node?.kind === "file") return { ...node, metadata: undefined };
    if (node?.kind !== "directory") return node;
    return { ...node, entries: new Map([...node.entries].map(([name, entry]) => [name, bare(entry)])) };
  },
  open: (file, range, signal) => tree.open(file, range, signal),
});
