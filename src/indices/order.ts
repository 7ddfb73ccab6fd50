// The order of an index: by first link, then by path, so that a new upload lands at the end.
import type { TreePath } from "../base/names.ts";

/** What orders an index and cuts it into segments. */
export interface Ordered {
  readonly path: TreePath;
  /** When the name was first linked, in ms since the epoch. */
  readonly linkedAtMs: number;
  /** Lower-case hex SHA256 over path and content: with the number of items since the last end, it decides where segments end. */
  readonly identity: string;
  /** How long its stanza is at most, in bytes: where stanzas are long, this decides too. */
  readonly stanzaBytes: number;
}

/** Below, equal to or above zero. Paths compare by UTF-16 code units, so alike on every machine and locale. */
export function compareOrdered(a: Ordered, b: Ordered): number {
  if (a.linkedAtMs !== b.linkedAtMs) return a.linkedAtMs - b.linkedAtMs;
  return a.path < b.path ? -1 : a.path > b.path ? 1 : 0;
}
