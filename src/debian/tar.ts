// The entries of a tar archive, streamed: as dpkg reads one, with the long names that GNU tar writes.
import { ByteReader } from "./byte-reader.ts";
import type { Flaw } from "./malformed.ts";
import { beyondLimit, Malformed, quoted } from "./malformed.ts";

/** By the type flag of its header; "other" is what dpkg does not unpack (sparse files, PAX headers, …). */
export type TarType = "file" | "link" | "symlink" | "device" | "directory" | "fifo" | "other";

/** One entry. Its content can be read once and only until the next entry is asked for; unread bytes are skipped. */
export interface TarEntry {
  /** One character per byte. As written, except that `./`, double and last slashes are gone: `control` for `./control`. */
  readonly name: string;
  readonly type: TarType;
  /** The flag itself: one character. */
  readonly flag: string;
  readonly sizeBytes: number;
  readonly content: AsyncIterable<Uint8Array>;
}

/** An archive's name, for messages, the flaw that it is not to be whole, and how much it may have. */
export interface TarKind {
  readonly what: string;
  readonly flaw: Flaw;
  /** How many headers, directories' and those of long names among them, and what that limit is called. */
  readonly maxHeaders: { readonly limit: string; readonly count: number };
}

const blockBytes = 512;
/** The longest name that an entry may have. */
const maxLongNameBytes = 2 ** 16;

const types: ReadonlyMap<string, TarType> = new Map([
  ["\0", "file"],
  ["0", "file"],
  ["7", "file"],
  ["1", "link"],
  ["2", "symlink"],
  ["3", "device"],
  ["4", "device"],
  ["5", "directory"],
  ["6", "fifo"],
]);
const longName = "L";
const longLink = "K";

/**
 * Reads an archive in one pass, and its content to its very end.
 * @throws Malformed while iterating, with the kind's flaw or `limit`; what `content` throws passes by
 * @see tar(5)
 */
export async function* readTar(content: AsyncIterable<Uint8Array>, kind: TarKind): AsyncGenerator<TarEntry> {
  const reader = new ByteReader(content);
  const refuse = (why: string) => new Malformed(kind.flaw, `its ${kind.what} is not a whole tar archive: ${why}`);
  try {
    let named: string | undefined;
    for (let headers = 1; ; headers++) {
      const at = reader.position;
      const block = await reader.read(blockBytes);
      if (block.byteLength === 0) return;
      if (block.byteLength < blockBytes) throw refuse(`it ends inside the header at byte ${at}`);
      if (block[0] === 0 && block.every((byte) => byte === 0)) break;
      const { limit, count } = kind.maxHeaders;
      if (headers > count) throw beyondLimit(limit, count, `the number of entries in the ${kind.what}`);
      const header = parseHeader(block);
      if (typeof header === "string") throw refuse(`the header at byte ${at} ${header}`);
      const body = { left: header.sizeBytes };
      const ending = () => refuse(`it ends inside ${quoted(named ?? header.name)}`);
      if (header.flag === longName || header.flag === longLink) {
        const text = await readName(reader, header.sizeBytes);
        if (text === undefined) throw ending();
        if (header.flag === longName) named = text;
        body.left = 0;
      } else {
        const name = named ?? header.name;
        named = undefined;
        const type = header.type === "file" && name.endsWith("/") ? "directory" : header.type;
        yield { ...header, type, name: plainName(name), content: takeBody(reader, body, ending) };
        await skip(reader, body, ending);
      }
      const padding = { left: -header.sizeBytes & (blockBytes - 1) };
      await skip(reader, padding, ending);
    }
    // Whatever follows the end counts for nothing, but what it is compressed in must be whole.
    while ((await reader.some(Number.POSITIVE_INFINITY)) !== undefined);
  } finally {
    await reader.close();
  }
}

interface Header {
  readonly name: string;
  readonly type: TarType;
  readonly flag: string;
  readonly sizeBytes: number;
}

/** @returns what is wrong with it, in words, where it is no header */
function parseHeader(block: Uint8Array): Header | string {
  const text = latin1(block);
  if (Number.parseInt(text.slice(148, 156).trim(), 8) !== checksumOf(block)) return "has another checksum";
  const sizeBytes = sizeOf(block.subarray(124, 136), text.slice(124, 136));
  if (sizeBytes === undefined) return "has a size that is no number";
  const flag = text.slice(156, 157);
  const prefix = text.slice(257, 263) === "ustar\0" ? untilNul(text.slice(345, 500)) : "";
  const name = untilNul(text.slice(0, 100));
  const type = types.get(flag) ?? "other";
  // What is no content has none, whatever its size says: a link's is that of the file that it links.
  const hasContent = type === "file" || type === "other";
  return { name: prefix === "" ? name : `${prefix}/${name}`, type, flag, sizeBytes: hasContent ? sizeBytes : 0 };
}

/** The sum of all bytes, those of the checksum itself counted as blanks. */
function checksumOf(block: Uint8Array): number {
  let sum = 8 * 0x20;
  for (let at = 0; at < blockBytes; at++) if (at < 148 || at >= 156) sum += block[at] ?? 0;
  return sum;
}

/** Octal digits, or, as GNU tar writes large sizes, a number of 95 bits behind a first bit that is set. */
function sizeOf(field: Uint8Array, text: string): number | undefined {
  if (field[0] === 0x80) {
    const size = Number(field.subarray(1).reduce((sum, byte) => sum * 256n + BigInt(byte), 0n));
    return Number.isSafeInteger(size) ? size : undefined;
  }
  const digits = /^ *([0-7]*)[ \0]*$/.exec(text)?.[1];
  return digits === undefined ? undefined : Number.parseInt(digits || "0", 8);
}

/** @returns undefined where the archive ends before */
async function readName(reader: ByteReader, sizeBytes: number): Promise<string | undefined> {
  if (sizeBytes > maxLongNameBytes) throw beyondLimit("maxLongNameBytes", maxLongNameBytes, "the name of a file in it");
  const bytes = await reader.read(sizeBytes);
  return bytes.byteLength < sizeBytes ? undefined : untilNul(latin1(bytes));
}

async function* takeBody(
  reader: ByteReader,
  body: { left: number },
  ending: () => Malformed,
): AsyncGenerator<Uint8Array> {
  while (body.left > 0) {
    const chunk = await reader.some(body.left);
    if (chunk === undefined) throw ending();
    body.left -= chunk.byteLength;
    yield chunk;
  }
}

async function skip(reader: ByteReader, body: { left: number }, ending: () => Malformed): Promise<void> {
  while (body.left > 0) {
    const chunk = await reader.some(body.left);
    if (chunk === undefined) throw ending();
    body.left -= chunk.byteLength;
  }
}

const plainName = (name: string): string =>
  /^\.\/[^/.][^/]*$/.test(name)
    ? name.slice(2)
    : name
        .split("/")
        .filter((part) => part !== "" && part !== ".")
        .join("/");

const untilNul = (text: string): string => {
  const end = text.indexOf("\0");
  return end === -1 ? text : text.slice(0, end);
};

const latin1 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
