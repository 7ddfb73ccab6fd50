// The change log of a directory: lines of JSON in a file of the directory, which record curation changes.

import type { Clock } from "../../base/clock.ts";
import type { TreePath } from "../../base/names.ts";
import { joinPath, lastName } from "../../base/names.ts";
import { readAtMost } from "../../base/read-at-most.ts";
import type { Entry, Tree } from "../../storage/tree.ts";
import { ContentGone, StorageUnavailable } from "../../storage/tree.ts";
import type { InventoryPackage } from "./inventory.ts";

/** One line of the log. It proves nothing: anybody with the directory's write cap can rewrite it. */
export interface ChangeLogEntry {
  readonly action: "promote" | "remove" | "prune";
  readonly package: string;
  readonly version: string;
  readonly architecture: string;
  readonly sha256: string;
  readonly path: TreePath;
  /** The path that the package was promoted from. */
  readonly from?: TreePath;
}

export const changeLogEntry = (
  action: ChangeLogEntry["action"],
  { name, version, architecture, sha256 }: InventoryPackage,
  path: TreePath,
  from?: TreePath,
): ChangeLogEntry => ({
  action,
  package: name,
  version,
  architecture,
  sha256,
  path,
  ...(from !== undefined && { from }),
});

/** The next file of the change log, and the files that it replaces. */
export interface NextChangeLog {
  /** An unused name. Of two concurrent writers, which choose the same name, only one can create the link. */
  readonly name: string;
  readonly text: string;
  readonly superseded: readonly string[];
}

/** A file of this size is complete: the next lines start a new file. */
const maxLogBytes = 256 * 1024;
const maxNumber = 999_999_999;
const logFileName = /^audit\.([1-9]\d{0,8})\.jsonl$/;

/**
 * Extends the change log. The result is a new numbered file with all lines of its predecessor: because of the new
 * number, two concurrent writers cannot overwrite each other's lines.
 * @param by name of the bundle that makes the changes
 */
export async function nextChangeLog(
  { tree, directory, entries }: { readonly tree: Tree; readonly directory: TreePath; readonly entries: Entries },
  events: readonly ChangeLogEntry[],
  by: string,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<NextChangeLog> {
  const numbers = [...entries.keys()].flatMap((name) => logFileName.exec(name)?.[1] ?? []).map(Number);
  const last = Math.max(0, ...numbers);
  let next = (last % maxNumber) + 1;
  while (entries.has(fileName(next))) next++;
  const before = last === 0 ? undefined : await textOf(tree, joinPath(directory, fileName(last)), entries, signal);
  const time = new Date(clock()).toISOString();
  const lines = events.map((event) => `${JSON.stringify({ time, by, ...event })}\n`);
  return {
    name: fileName(next),
    text: `${before ?? ""}${lines.join("")}`,
    superseded:
      before === undefined ? [] : numbers.filter((each) => isIncomplete(entries.get(fileName(each)))).map(fileName),
  };
}

type Entries = ReadonlyMap<string, Entry>;

const fileName = (number: number): string => `audit.${number}.jsonl`;

/** Whether a file is incomplete. All such files except the last are predecessors that were not removed yet. */
const isIncomplete = (entry: Entry | undefined): boolean =>
  entry?.kind === "file" && entry.content !== undefined && (entry.sizeBytes ?? maxLogBytes) < maxLogBytes;

/** @returns undefined if the file is complete or unreadable: then it is kept, and a new file starts */
async function textOf(tree: Tree, path: TreePath, entries: Entries, signal: AbortSignal): Promise<string | undefined> {
  const entry = entries.get(lastName(path));
  if (entry?.kind !== "file" || !isIncomplete(entry)) return undefined;
  let bytes: Buffer | undefined;
  try {
    bytes = await readAtMost(tree.open({ path, content: entry.content }, undefined, signal), maxLogBytes);
  } catch (thrown) {
    signal.throwIfAborted();
    if (!(thrown instanceof StorageUnavailable) && !(thrown instanceof ContentGone)) throw thrown;
    return undefined;
  }
  const text = bytes?.toString("utf8");
  if (text === undefined) return undefined;
  return text === "" || text.endsWith("\n") ? text : `${text}\n`;
}
