// The file of a backup: a tar archive whose first member says what made it, and whose last lists all others with hashes.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { buffer } from "node:stream/consumers";
import { z } from "zod";
import { messageOf, RepoError } from "../base/errors.ts";
import { chunksOf } from "../debian/byte-reader.ts";
import { Malformed } from "../debian/malformed.ts";
import type { TarEntry } from "../debian/tar.ts";
import { readTar } from "../debian/tar.ts";
import { endOfTar, tarEntry } from "../debian/write-tar.ts";

/** Raised when older programs would misread a backup. */
const backupFormat = 1;

const headerName = "backup.json";
const manifestName = "manifest.json";

const header = z.object({
  format: z.number().int().positive(),
  /** The version of the program that made the backup. */
  program: z.string(),
  /** Not later than the last moment that a Date can be. */
  createdMs: z.number().int().nonnegative().max(8.64e15),
  stateFormat: z.number().int().positive(),
  state: z.object({
    directory: z.string(),
    /** Whether the configuration names this directory; otherwise it was given beside the configuration. */
    isConfigured: z.boolean(),
  }),
  repositories: z.array(z.string()).readonly(),
});
export type BackupHeader = Readonly<z.infer<typeof header>>;

/** Where the content of a member comes from and goes to. */
const origin = z.object({
  /**
   * The configuration itself, or a file that it names: with an absolute path, or relative to it; a file of the state
   * directory; or records of its database.
   */
  kind: z.enum(["configuration", "absolute", "relative", "state", "records"]),
  /** Absolute, or relative to the directory of the configuration, or to that of the state. */
  path: z.string(),
  mode: z.number().int(),
  /** The names of its owner and group, if they are known. */
  owner: z.string().optional(),
  group: z.string().optional(),
});
export type BackupOrigin = Readonly<z.infer<typeof origin>>;

const listedMember = origin.extend({ name: z.string(), sizeBytes: z.number().int(), sha256: z.string() });
type ListedMember = z.infer<typeof listedMember>;
const manifest = z.strictObject({ members: z.array(listedMember) });

/** One file of a backup. */
export interface BackupMember {
  /** The name in the archive, e.g. `state/last-dates.json`. */
  readonly name: string;
  readonly origin: BackupOrigin;
  readonly content: Uint8Array;
}

/** The file is not a backup, is damaged, or was made by a newer version. */
export class BadBackup extends RepoError {
  readonly code = "backup/unusable";
}

/** Returns the bytes of an archive. */
export async function* writeArchive(
  about: Omit<BackupHeader, "format">,
  members: AsyncIterable<BackupMember>,
): AsyncIterable<Uint8Array> {
  const atSeconds = Math.floor(about.createdMs / 1000);
  const entry = (name: string, content: Uint8Array) => tarEntry({ name, mode: 0o600, type: "0", atSeconds }, content);
  const listed: ListedMember[] = [];
  const first = jsonBytes({ format: backupFormat, ...about });
  listed.push(listing({ name: headerName, content: first, origin: { kind: "records", path: "", mode: 0o600 } }));
  yield entry(headerName, first);
  for await (const member of members) {
    listed.push(listing(member));
    yield entry(member.name, member.content);
  }
  yield entry(manifestName, jsonBytes({ members: listed }));
  yield endOfTar;
}

const listing = ({ name, origin: from, content }: BackupMember): ListedMember => ({
  name,
  ...from,
  sizeBytes: content.length,
  sha256: sha256Of(content),
});

const sha256Of = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const jsonBytes = (value: object): Buffer => Buffer.from(`${JSON.stringify(value, undefined, 2)}\n`);

/** A backup whose content is as it was written. */
export interface VerifiedBackup {
  readonly header: BackupHeader;
  /** Reads the members again, in their order. @throws BadBackup if the file has changed */
  members(): AsyncIterable<BackupMember>;
}

/** Reads a whole backup. @throws BadBackup with the reason */
export async function verifyBackup(file: string): Promise<VerifiedBackup> {
  let found: BackupHeader | undefined;
  let listed: readonly ListedMember[] | undefined;
  const hashes = new Map<string, string>();
  for await (const { name, content } of entriesOf(file)) {
    if (listed !== undefined) throw new BadBackup(`${file} is damaged: something follows the list of its files`);
    if (found === undefined) {
      if (name !== headerName) throw new BadBackup(`${file} is not a backup of tahoe-apt`);
      found = headerIn(content, file);
    }
    if (name === manifestName) listed = parsedIn(manifest, content, file).members;
    else if (hashes.has(name)) throw new BadBackup(`${file} is damaged: it contains ${name} twice`);
    else hashes.set(name, sha256Of(content));
  }
  if (found === undefined) throw new BadBackup(`${file} is not a backup of tahoe-apt`);
  if (listed === undefined) throw new BadBackup(`${file} is incomplete: its end is missing`);
  for (const { name, sha256 } of listed) {
    if (!hashes.has(name)) throw new BadBackup(`${file} is incomplete: ${name} is missing`);
    if (hashes.get(name) !== sha256) throw new BadBackup(`${file} is damaged: ${name} was changed`);
  }
  const origins = new Map(listed.map(({ name, ...member }) => [name, member]));
  const unlisted = [...hashes.keys()].find((name) => !origins.has(name));
  if (unlisted !== undefined) throw new BadBackup(`${file} is damaged: ${unlisted} does not belong to it`);
  return { header: found, members: () => membersOf(file, origins) };
}

async function* membersOf(
  file: string,
  origins: ReadonlyMap<string, Omit<ListedMember, "name">>,
): AsyncIterable<BackupMember> {
  for await (const { name, content } of entriesOf(file)) {
    if (name === headerName || name === manifestName) continue;
    const known = origins.get(name);
    if (known === undefined || known.sha256 !== sha256Of(content))
      throw new BadBackup(`${file} was changed while it was read`);
    yield { name, origin: known, content };
  }
}

function headerIn(content: Uint8Array, file: string): BackupHeader {
  const { format, program } = parsedIn(header.pick({ format: true, program: true }), content, file);
  if (format > backupFormat) {
    throw new BadBackup(
      `${file} was made by tahoe-apt ${program} in a newer format (${format}; this version knows ${backupFormat}): ` +
        `restore it with ${program} or later`,
    );
  }
  return parsedIn(header, content, file);
}

function parsedIn<Value>(schema: z.ZodType<Value>, content: Uint8Array, file: string): Value {
  try {
    return schema.parse(JSON.parse(Buffer.from(content).toString()));
  } catch {
    // The messages of the parsers quote the file, which contains secrets.
    throw new BadBackup(`${file} is damaged: a description in it cannot be read`);
  }
}

/** More members than any backup has. */
const maxHeaders = { limit: "members", count: 1_000_000 };
/** More than any member has: a record of the database is far smaller. */
const maxMemberBytes = 2 ** 30;

async function* entriesOf(file: string): AsyncIterable<{ readonly name: string; readonly content: Uint8Array }> {
  const kind = { what: "content", flaw: "bad-data", maxHeaders } as const;
  const isWanted = ({ type, sizeBytes }: Pick<TarEntry, "type" | "sizeBytes">): boolean => {
    if (type !== "file" || sizeBytes > maxMemberBytes) throw new BadBackup(`${file} is not a backup of tahoe-apt`);
    return true;
  };
  try {
    for await (const { name, content } of readTar(createReadStream(file), kind, isWanted)) {
      yield { name, content: await buffer(chunksOf(content)) };
    }
  } catch (thrown) {
    if (thrown instanceof Malformed) throw new BadBackup(`${file} is incomplete or damaged: ${messageOf(thrown)}`);
    throw thrown;
  }
}
