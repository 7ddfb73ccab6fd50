// Names under which apt can fetch a file: it puts some characters into a request as they are, though they end a path.

import type { TreePath } from "../../base/names.ts";
import { joinPath } from "../../base/names.ts";
import type { LocalFile } from "../../storage/local-file.ts";
import type { ByteRange, Entry, FileRef, Node, Tree } from "../../storage/tree.ts";

/** A server takes `?` for the end of the path and `#` for no part of it; the others must not stand in a URL at all. */
const unfetchable = /[?#"<>\\^`{|}[\]]/g;

/** What is wrong with a name or path; undefined if apt can fetch it. For people. */
export function whyNotFetchable(path: string): string | undefined {
  const [found] = path.match(unfetchable) ?? [];
  return found === undefined ? undefined : `apt can't fetch a path with ${found} in it`;
}

/** The name under which a package is served, where the server is free to choose one. */
export const fetchableName = (name: string): string => name.replace(unfetchable, "_");

/** A tree whose own paths are what clients ask for: what apt can't fetch is shown as no file, and why. */
export class FetchableTree implements Tree {
  readonly #inner: Tree;

  constructor(inner: Tree) {
    this.#inner = inner;
  }

  async look(path: TreePath, signal: AbortSignal): Promise<Node | undefined> {
    const node = await this.#inner.look(path, signal);
    if (node?.kind !== "directory") return node && shown(path, node);
    const entries = [...node.entries].map(([name, entry]) => [name, shown(joinPath(path, name), entry)] as const);
    return { ...node, entries: new Map(entries) };
  }

  open(file: FileRef, range: ByteRange | undefined, signal: AbortSignal): AsyncIterable<Uint8Array> {
    return this.#inner.open(file, range, signal);
  }

  localFile(file: FileRef): LocalFile | undefined {
    return this.#inner.localFile?.(file);
  }
}

function shown<Shown extends Entry | Node>(path: TreePath, entry: Shown): Shown | Extract<Entry, { kind: "other" }> {
  const reason = entry.kind === "directory" ? undefined : whyNotFetchable(path);
  return reason === undefined ? entry : { kind: "other", reason };
}
