// File names that apt can fetch. apt does not percent-encode some characters that may not occur in the path of a URL.

import type { TreePath } from "../../base/names.ts";
import { joinPath } from "../../base/names.ts";
import type { LocalFile } from "../../storage/local-file.ts";
import type { ByteRange, Entry, FileRef, Node, Tree } from "../../storage/tree.ts";

/** Servers parse `?` and `#` as the end of the path; the others are not allowed in a URL. */
const unfetchable = /[?#"<>\\^`{|}[\]]/g;

/** @returns the reason why apt cannot fetch a name or path, for people; undefined if it can */
export function whyNotFetchable(path: string): string | undefined {
  const [found] = path.match(unfetchable) ?? [];
  return found === undefined ? undefined : `apt cannot fetch a path with ${found} in it`;
}

/** The name under which a package is served, if the server may choose it. */
export const fetchableName = (name: string): string => name.replace(unfetchable, "_");

/**
 * A decorator for trees whose paths appear in indices: files that apt cannot fetch become other entries with a reason.
 */
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
