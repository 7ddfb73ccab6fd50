// What was changed in a directory, and when: lines of JSON in a file of that directory, and of nobody else's.

import type { Clock } from "../../base/clock.ts";
import type { TreePath } from "../../base/names.ts";
import { joinPath } from "../../base/names.ts";
import { readAtMost } from "../../base/read-at-most.ts";
import type { Entry, Tree } from "../../storage/tree.ts";
import { ContentGone, StorageUnavailable } from "../../storage/tree.ts";
import type { InventoryPackage } from "./inventory.ts";

/** One line. Whoever holds the directory's cap can rewrite it: it is a memory, and no proof. */
export interface ChangeLogEntry {
  readonly action: "promote" | "remove" | "prune";
  readonly package: string;
  readonly version: string;
  readonly architecture: string;
  readonly sha256: string;
  readonly path: TreePath;
  /** Where it was promoted from. */
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

/** The file that takes the place of the last one, and what it makes superfluous. */
export interface NextChangeLog {
  /** Not in the directory yet: two writers at once ask for the same name, and only one of them gets it. */
  readonly name: string;
  readonly text: string;
  readonly superseded: readonly string[];
}

/** From this size on, a file is left as it is and a new one is begun. */
const fullAuditBytes = 256 * 1024;
const maxNumber = 999_999_999;
const auditName = /^audit\.([1-9]\d{0,8})\.jsonl$/;

/**
 * The log with lines more. It is a numbered file that holds all of its predecessor's lines; the number is what makes
 * sure that of two writers none loses the other's.
 * @param by who says so
 */
export async function nextChangeLog(
  { tree, directory, entries }: { readonly tree: Tree; readonly directory: TreePath; readonly entries: Entries },
  events: readonly ChangeLogEntry[],
  by: string,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<NextChangeLog> {
  const numbers = [...entries.keys()].flatMap((name) => auditName.exec(name)?.[1] ?? []).map(Number);
  const last = Math.max(0, ...numbers);
  let next = (last % maxNumber) + 1;
  while (entries.has(nameOf(next))) next++;
  const before = last === 0 ? undefined : await textOf(tree, joinPath(directory, nameOf(last)), entries, signal);
  const time = new Date(clock()).toISOString();
  const lines = events.map((event) => `${JSON.stringify({ time, by, ...event })}\n`);
  return {
    name: nameOf(next),
    text: `${before ?? ""}${lines.join("")}`,
    superseded: before === undefined ? [] : numbers.filter((each) => isOpen(entries.get(nameOf(each)))).map(nameOf),
  };
}

type Entries = ReadonlyMap<string, Entry>;

const nameOf = (number: number): string => `audit.${number}.jsonl`;

/** Whether more lines come to a file: each such file but the last is a predecessor that was not yet taken away. */
const isOpen = (entry: Entry | undefined): boolean =>
  entry?.kind === "file" && entry.content !== undefined && (entry.sizeBytes ?? fullAuditBytes) < fullAuditBytes;

/** @returns undefined for a file that is full, or can't be read: it stays, and another one is begun */
async function textOf(tree: Tree, path: TreePath, entries: Entries, signal: AbortSignal): Promise<string | undefined> {
  const entry = entries.get(path.slice(path.lastIndexOf("/") + 1));
  if (entry?.kind !== "file" || !isOpen(entry)) return undefined;
  let bytes: Buffer | undefined;
  try {
    bytes = await readAtMost(tree.open({ path, content: entry.content }, undefined, signal), fullAuditBytes);
  } catch (thrown) {
    signal.throwIfAborted();
    if (!(thrown instanceof StorageUnavailable) && !(thrown instanceof ContentGone)) throw thrown;
    return undefined;
  }
  const text = bytes?.toString("utf8");
  if (text === undefined) return undefined;
  return text === "" || text.endsWith("\n") ? text : `${text}\n`;
}
