// What the webapi's `?t=json` says of a node, checked like any stranger's word.
import { ContentId } from "../../base/content-id.ts";
import { LimitExceeded } from "../../base/errors.ts";
import { isEntryName } from "../../base/names.ts";
import type { Entry, FileEntry, Node, OtherEntry } from "../tree.ts";
import { immutableFileBytes } from "./caps.ts";

/** The answer has not the shape that the webapi documents. Holds nothing of it, because it is full of caps. */
export class ListingError extends Error {}

/** @throws ListingError, LimitExceeded */
export function parseListing(text: string, maxEntries: number): Node {
  const [kind, facts] = nodeOf(parseJson(text));
  if (kind !== "dirnode") return entryOf(kind, facts);
  const children = recordOf(facts.children);
  const names = Object.keys(children);
  if (names.length > maxEntries) throw new LimitExceeded("maxEntries", maxEntries, "a directory's number of entries");
  const entries = new Map<string, Entry>();
  for (const name of names) {
    if (isEntryName(name)) entries.set(name, childOf(children[name]));
  }
  return { kind: "directory", entries };
}

/** The cap with which to read the file that `?t=json` describes; undefined if it describes no file. @throws ListingError */
export function parseFileCap(text: string): string | undefined {
  const [kind, facts] = nodeOf(parseJson(text));
  return kind === "filenode" && typeof facts.ro_uri === "string" ? facts.ro_uri : undefined;
}

/** The read cap that `?t=json` tells of a directory. @throws ListingError */
export function parseDirectoryReadUri(text: string): string {
  const [kind, facts] = nodeOf(parseJson(text));
  if (kind !== "dirnode" || typeof facts.ro_uri !== "string") throw new ListingError("no directory");
  return facts.ro_uri;
}

/** The write cap that `?t=json` tells of a directory; undefined where it is no directory or may not be changed. @throws ListingError */
export function parseDirectoryWriteUri(text: string): string | undefined {
  const [kind, facts] = nodeOf(parseJson(text));
  return kind === "dirnode" && typeof facts.rw_uri === "string" ? facts.rw_uri : undefined;
}

type Facts = Readonly<Record<string, unknown>>;

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The original message quotes the text, and so a cap.
    throw new ListingError("no JSON");
  }
}

function nodeOf(value: unknown): [kind: string, facts: Facts] {
  if (!Array.isArray(value) || typeof value[0] !== "string") throw new ListingError("no node");
  return [value[0], recordOf(value[1])];
}

function recordOf(value: unknown): Facts {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new ListingError("no object");
  return value as Facts;
}

function childOf(value: unknown): Entry {
  const [kind, facts] = nodeOf(value);
  if (kind !== "dirnode") return entryOf(kind, facts);
  const uri = facts.verify_uri ?? facts.ro_uri;
  return typeof uri === "string" ? { kind: "directory", identity: new ContentId(uri).key } : { kind: "directory" };
}

function entryOf(kind: string, facts: Facts): FileEntry | OtherEntry {
  if (kind !== "filenode") return { kind: "other", reason: "something that this Tahoe gateway does not know" };
  const uri = facts.ro_uri;
  const size = facts.size;
  const knownBytes = typeof uri === "string" ? immutableFileBytes(uri) : undefined;
  if (facts.mutable !== true && knownBytes === undefined) {
    return { kind: "other", reason: "an immutable file with a cap of an unknown kind" };
  }
  return {
    kind: "file",
    sizeBytes: knownBytes ?? (Number.isSafeInteger(size) && Number(size) >= 0 ? Number(size) : undefined),
    content: knownBytes === undefined ? undefined : new ContentId(String(uri)),
    ...times(facts.metadata),
  };
}

function times(raw: unknown): Pick<FileEntry, "linkedAtMs" | "relinkedAtMs" | "metadata"> {
  const metadata = optionalRecord(raw);
  const tahoe = optionalRecord(metadata.tahoe);
  const linked = milliseconds(tahoe.linkcrtime, metadata.ctime, metadata.mtime) ?? 0;
  const relinked = milliseconds(tahoe.linkmotime, metadata.mtime) ?? linked;
  return { linkedAtMs: linked, relinkedAtMs: relinked, metadata: metadata.apt };
}

const optionalRecord = (value: unknown): Facts =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Facts) : {};

/** The year 9999: what lies beyond is nonsense that no date format takes. */
const maxSeconds = 253_402_300_799;

/** The first that is a time in seconds. */
function milliseconds(...candidates: readonly unknown[]): number | undefined {
  for (const seconds of candidates) {
    if (typeof seconds === "number" && seconds >= 0 && seconds <= maxSeconds) return Math.round(seconds * 1000);
  }
  return undefined;
}
