// The record of an import: a file in each directory that it fills. It says which files came from which repository, so
// that a later run finds out what went away, and an older Release is noticed.
import { createHash } from "node:crypto";
import { z } from "zod";
import type { UpstreamRelease } from "../../upstream/release-file.ts";

const fileSchema = z.object({
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  /** Name, version and architecture of the package that this file is or, for a part of a source package, belongs to. */
  package: z.tuple([z.string(), z.string(), z.string()]),
  /** In a folder: size and time of the file, which show that it is still the same. */
  sizeBytes: z.number().optional(),
  modifiedMs: z.number().optional(),
});

const recordSchema = z.object({
  version: z.literal(1),
  /** The Date of the Release from which the directory was last changed. */
  date: z.string(),
  origin: z.string(),
  label: z.string(),
  suite: z.string(),
  codename: z.string(),
  files: z.record(z.string(), fileSchema),
});

/** A file that an import has brought. */
export type RecordedFile = z.infer<typeof fileSchema>;

export interface ImportRecord {
  readonly dateMs: number;
  readonly identity: UpstreamRelease["identity"];
  /** By name. */
  readonly files: ReadonlyMap<string, RecordedFile>;
}

/** A record with 60,000 files has some 12 MB. */
export const maxRecordBytes = 128 * 2 ** 20;

/**
 * The name of the record's file: imports from several repositories into one directory have different records. Suite and
 * Codename are not part of it, because they change with a release of Debian, e.g. from stable to oldstable.
 * @param address distinguishes repositories without Origin and Label only: a mirror or a moved repository is the same
 */
export function recordNameOf(
  { identity: { origin, label }, directory }: Pick<UpstreamRelease, "identity" | "directory">,
  address: string,
): string {
  const isNameless = origin === "" && label === "";
  const text = JSON.stringify(isNameless ? [address, directory] : [origin, label, directory]);
  return `import.${createHash("sha256").update(text).digest("hex").slice(0, 16)}.json`;
}

export function formatRecord({ dateMs, identity, files }: ImportRecord): string {
  const date = new Date(dateMs).toISOString();
  return `${JSON.stringify({ version: 1, date, ...identity, files: Object.fromEntries(files) })}\n`;
}

/** @returns undefined if it is not a valid record: then it is written again */
export function parseRecord(text: string): ImportRecord | undefined {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch {
    return undefined;
  }
  const parsed = recordSchema.safeParse(raw);
  if (!parsed.success) return undefined;
  const { date, origin, label, suite, codename, files } = parsed.data;
  const dateMs = Date.parse(date);
  if (!Number.isFinite(dateMs)) return undefined;
  return { dateMs, identity: { origin, label, suite, codename }, files: new Map(Object.entries(files)) };
}
