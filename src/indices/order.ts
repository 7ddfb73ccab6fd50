// The order of entries in an index: by first link, then by path, so that a new upload is at the end.
import type { TreePath } from "../base/names.ts";

/** The properties by which an index is ordered and cut into segments. */
export interface Ordered {
  readonly path: TreePath;
  /** When the name was first linked, in ms since the epoch. */
  readonly linkedAtMs: number;
  /**
   * Lower-case hex SHA256 of path and content. With the number of items since the last end, it decides where segments
   * end.
   */
  readonly identity: string;
  /** An upper bound on the length of its stanza, in bytes, which also decides where segments of long stanzas end. */
  readonly stanzaBytes: number;
}

/** Compares by time, then by UTF-16 code units of the path, independent of the locale. @returns <0, 0 or >0 */
export function compareOrdered(a: Ordered, b: Ordered): number {
  if (a.linkedAtMs !== b.linkedAtMs) return a.linkedAtMs - b.linkedAtMs;
  return a.path < b.path ? -1 : a.path > b.path ? 1 : 0;
}
