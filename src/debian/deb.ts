// Reads a .deb in one pass: its digests, its structure, its control stanza and the list of its files.

import type { ArLimits, ArMember } from "./ar.ts";
import { readAr } from "./ar.ts";
import type { Content } from "./byte-reader.ts";
import { ByteReader } from "./byte-reader.ts";
import { checkBinaryControl } from "./control.ts";
import type { StanzaLimits } from "./deb822.ts";
import { Deb822Error, parseStanza } from "./deb822.ts";
import type { Compression } from "./decompress.ts";
import { decompress } from "./decompress.ts";
import type { MemberLimits } from "./decompression-limits.ts";
import { outputLimitsOf } from "./decompression-limits.ts";
import type { DigestAlgorithm, Digests } from "./digests.ts";
import { digesting, RunningDigests } from "./digests.ts";
import type { FileListLimits } from "./file-list.ts";
import { FileListWriter } from "./file-list.ts";
import { limitFlaw, Malformed, quoted } from "./malformed.ts";
import type { Stanza } from "./stanza.ts";
import type { TarEntry, TarHeader, TarKind } from "./tar.ts";
import { readTar } from "./tar.ts";

export interface DebLimits extends ArLimits, StanzaLimits, MemberLimits, FileListLimits {
  /** How many entries the control archive may have. */
  readonly maxControlEntries: number;
  /** How many entries data.tar may have, directories among them; a name longer than 100 bytes counts as one more. */
  readonly maxDataEntries: number;
  /** The largest decompressed size of data.tar, in bytes. */
  readonly maxDataBytes: number;
}

export interface DebOptions {
  readonly limits: DebLimits;
  /** The digests to compute; SHA256 is always computed. */
  readonly algorithms: readonly DigestAlgorithm[];
  /** Whether to decompress data.tar and list its files; otherwise it must only be complete. */
  readonly fileLists?: boolean;
}

/** The result of reading a .deb. */
export interface Deb {
  readonly sizeBytes: number;
  readonly digests: Digests;
  readonly control: Stanza;
  /** The time in the first member's header, in seconds since the epoch. */
  readonly builtAtSeconds: number;
  /** The files in data.tar without directories, in compact form, if `fileLists` is set. */
  readonly fileList?: Uint8Array;
}

/** The format version is a number on the first line. Only so many bytes of the member are read. */
const maxFormatBytes = 16;

const controlCompressions: ReadonlyMap<string, Compression> = new Map([
  ["control.tar", "none"],
  ["control.tar.gz", "gz"],
  ["control.tar.xz", "xz"],
  ["control.tar.zst", "zst"],
]);
const dataCompressions: ReadonlyMap<string, Compression> = new Map([
  ["data.tar", "none"],
  ["data.tar.gz", "gz"],
  ["data.tar.xz", "xz"],
  ["data.tar.zst", "zst"],
  ["data.tar.bz2", "bz2"],
  ["data.tar.lzma", "lzma"],
]);

/**
 * Reads a .deb to its end.
 * @throws Malformed; errors of `content` pass through
 * @see deb(5)
 */
export async function readDeb(content: Content, options: DebOptions): Promise<Deb> {
  const running = new RunningDigests(options.algorithms);
  const found = await readMembers(readAr(digesting(content, running), options.limits), options);
  return { ...running.finish(), ...found };
}

/** The order of members is fixed: debian-binary, control.tar, data.tar, then members of future formats. @see deb(5) */
async function readMembers(
  members: AsyncIterable<ArMember>,
  { limits, fileLists = false }: DebOptions,
): Promise<Pick<Deb, "control" | "builtAtSeconds" | "fileList">> {
  let builtAtSeconds: number | undefined;
  let control: Stanza | undefined;
  let fileList: Uint8Array | undefined;
  let hasFiles = false;
  for await (const member of members) {
    if (builtAtSeconds === undefined) {
      builtAtSeconds = await readFormat(member);
    } else if (/^(debian-binary|control\.tar|data\.tar)/.test(member.name)) {
      // Programs differ in which of two control members they read, so each member may occur only once.
      if (control === undefined) control = await readControl(member, limits);
      else if (hasFiles) throw misplaced(member);
      else {
        hasFiles = true;
        const compression = compressionOf(member, dataCompressions);
        // Otherwise readAr skips the member and checks that it is complete.
        if (fileLists) fileList = await readFileList(member, compression, limits);
      }
    } else if (!hasFiles && !member.name.startsWith("_")) {
      throw misplaced(member);
    }
  }
  if (builtAtSeconds === undefined || control === undefined)
    throw new Malformed("truncated", "it ends before its control.tar");
  if (!hasFiles) throw new Malformed("truncated", "it ends before its data.tar");
  return { control, builtAtSeconds, ...(fileList === undefined ? {} : { fileList }) };
}

async function readFormat(member: ArMember): Promise<number> {
  if (member.name !== "debian-binary") throw misplaced(member);
  const text = Buffer.from(await new ByteReader(member.content).read(maxFormatBytes)).toString("latin1");
  if (!/^2\.[0-9]+\n/.test(text)) throw new Malformed("not-a-deb", `its format version is ${quoted(text)}, not 2.0`);
  return member.mtimeSeconds;
}

async function readControl(member: ArMember, limits: DebLimits): Promise<Stanza> {
  const compression = compressionOf(member, controlCompressions);
  let text: Uint8Array | undefined;
  const absolute = { limit: "maxDecompressedBytes", allowed: limits.maxDecompressedBytes };
  const archive = decompress(compression, member.content, outputLimitsOf(member.sizeBytes, limits, absolute), "dpkg");
  for await (const entry of readTar(archive, controlArchive(limits), ({ name }) => name === "control")) {
    if (text !== undefined) throw new Malformed("bad-control", "its control archive has two files named control");
    if (entry.type !== "file") throw new Malformed("bad-control", `its control is a ${entry.type}, not a file`);
    if (entry.sizeBytes > limits.maxStanzaBytes) {
      throw limitFlaw("maxStanzaBytes", limits.maxStanzaBytes, "the size of its control");
    }
    text = await new ByteReader(entry.content).read(entry.sizeBytes);
  }
  if (text === undefined) throw new Malformed("bad-control", "its control archive has no file named control");
  const stanza = parseControl(text, limits);
  checkBinaryControl(stanza);
  return stanza;
}

function parseControl(text: Uint8Array, limits: StanzaLimits): Stanza {
  try {
    return parseStanza(text, limits);
  } catch (thrown) {
    if (thrown instanceof Deb822Error)
      throw new Malformed("bad-control", `control, ${thrown.message}`, { cause: thrown });
    throw thrown;
  }
}

const controlArchive = ({ maxControlEntries: count }: DebLimits): TarKind => ({
  what: "control archive",
  flaw: "bad-control",
  maxHeaders: { limit: "maxControlEntries", count },
});
const dataArchive = ({ maxDataEntries: count }: DebLimits): TarKind => ({
  what: "data archive",
  flaw: "bad-data",
  maxHeaders: { limit: "maxDataEntries", count },
});

async function readFileList(member: ArMember, compression: Compression, limits: DebLimits): Promise<Uint8Array> {
  const list = new FileListWriter(limits);
  const note = (header: TarHeader): false => {
    const why = whyNotUnpacked(header);
    if (why !== undefined) throw new Malformed("bad-data", `its data archive has an entry ${why}`);
    if (header.type !== "directory") list.add(header.name);
    return false;
  };
  for await (const _none of readData(member, compression, limits, note));
  return list.encode();
}

/** Why dpkg refuses to unpack an entry, or would write a list of files that it cannot read again. */
function whyNotUnpacked({ name, written, type, flag, linksNothing }: TarHeader): string | undefined {
  // This includes PAX headers.
  if (type === "other") return `of the type ${quoted(flag)}`;
  if (name === "" && !(flag === "5" && (written === "." || written === "./"))) {
    return `with the name ${quoted(written)}, which names no file`;
  }
  if (name.includes("\n")) return `with a line feed in its name ${quoted(written)}`;
  return linksNothing ? `${quoted(written)} that links nothing` : undefined;
}

/** The wanted entries of data.tar; undefined for every other member. */
export function dataMember(
  member: ArMember,
  limits: DebLimits,
  isWanted: (header: TarHeader) => boolean,
): AsyncIterable<TarEntry> | undefined {
  const compression = dataCompressions.get(member.name);
  return compression === undefined ? undefined : readData(member, compression, limits, isWanted);
}

function readData(
  member: ArMember,
  compression: Compression,
  limits: DebLimits,
  isWanted: (header: TarHeader) => boolean,
): AsyncIterable<TarEntry> {
  const absolute = { limit: "maxDataBytes", allowed: limits.maxDataBytes };
  const archive = decompress(compression, member.content, outputLimitsOf(member.sizeBytes, limits, absolute), "dpkg");
  return readTar(archive, dataArchive(limits), isWanted);
}

function compressionOf(member: ArMember, known: ReadonlyMap<string, Compression>): Compression {
  const compression = known.get(member.name);
  if (compression === undefined) throw misplaced(member);
  return compression;
}

const misplaced = (member: ArMember) =>
  new Malformed("not-a-deb", `its member ${quoted(member.name)} is not allowed at this place`);
