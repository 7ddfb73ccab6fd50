// Streams the entries of a tar archive as dpkg reads it, with the long names of GNU tar.
import { asBuffer } from "../base/as-buffer.ts";
import type { Content } from "./byte-reader.ts";
import { ByteReader, takeBody } from "./byte-reader.ts";
import type { Flaw } from "./malformed.ts";
import { limitFlaw, Malformed, quoted } from "./malformed.ts";

/**
 * The type of an entry; "other" is everything that dpkg does not unpack (sparse and contiguous files, PAX headers, …).
 */
export type TarType = "file" | "link" | "symlink" | "device" | "directory" | "fifo" | "other";

/** The header of an entry. */
export interface TarHeader {
  /** One character per byte, without `./`, double slashes and trailing slashes: `control` for `./control`. */
  readonly name: string;
  /** The unchanged name. */
  readonly written: string;
  readonly type: TarType;
  /** The type flag of the header: one character. */
  readonly flag: string;
  readonly sizeBytes: number;
  /** Whether it is a link without a target. */
  readonly linksNothing: boolean;
}

/** One entry. Its content can be read once, before the next entry is requested; unread bytes are skipped. */
export interface TarEntry extends TarHeader {
  readonly content: Content;
}

/** What an archive is, for error messages, and its limit. */
export interface TarKind {
  readonly what: string;
  readonly flaw: Flaw;
  /** How many headers it may have, including those of directories and long names, and the name of that setting. */
  readonly maxHeaders: { readonly limit: string; readonly count: number };
}

const blockBytes = 512;
/** The longest name that an entry may have. */
const maxLongNameBytes = 2 ** 16;

const types: ReadonlyMap<string, TarType> = new Map([
  ["\0", "file"],
  ["0", "file"],
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
 * Reads an archive in one pass, to the end of its content.
 * @param isWanted called for each entry; the content of unwanted entries is skipped
 * @throws Malformed while iterating, with the flaw of `kind` or `limit`; errors of `content` and `isWanted` pass
 *   through
 * @see tar(5)
 */
export async function* readTar(
  content: Content,
  kind: TarKind,
  isWanted: (header: TarHeader) => boolean,
): AsyncGenerator<TarEntry> {
  const reader = new ByteReader(content);
  const refuse = (why: string) => new Malformed(kind.flaw, `its ${kind.what} is not a whole tar archive: ${why}`);
  try {
    let named: string | undefined;
    let linked: string | undefined;
    for (let headers = 1; ; headers++) {
      const at = reader.position;
      // Most headers are in the current chunk, and a promise would cost more than everything else here.
      const block = reader.atHand(blockBytes) ?? (await reader.read(blockBytes));
      if (block.byteLength === 0) return;
      if (block.byteLength < blockBytes) throw refuse(`it ends inside the header at byte ${at}`);
      if (block[0] === 0 && block.every((byte) => byte === 0)) break;
      const { limit, count } = kind.maxHeaders;
      if (headers > count) throw limitFlaw(limit, count, `the number of entries in the ${kind.what}`);
      const header = parseHeader(block);
      if (typeof header === "string") throw refuse(`the header at byte ${at} ${header}`);
      const written = named ?? header.name;
      const ending = () => refuse(`it ends inside ${quoted(written)}`);
      const body = { left: header.sizeBytes };
      if (header.flag === longName || header.flag === longLink) {
        const text = await readName(reader, header.sizeBytes);
        if (text === undefined) throw ending();
        if (header.flag === longName) named = text;
        else linked = text;
        body.left = 0;
      } else {
        const type = header.type === "file" && written.endsWith("/") ? "directory" : header.type;
        const { flag, sizeBytes } = header;
        const linksNothing = header.linksNothing && (linked ?? "") === "";
        const plain = { name: plainName(written), written, type, flag, sizeBytes, linksNothing };
        named = undefined;
        linked = undefined;
        if (isWanted(plain)) {
          const whole = reader.atHand(body.left);
          if (whole !== undefined) body.left = 0;
          yield { ...plain, content: whole ?? takeBody(reader, body, ending) };
        }
      }
      body.left += -header.sizeBytes & (blockBytes - 1);
      body.left -= reader.skipAtHand(body.left);
      if (body.left > 0) await skip(reader, body, ending);
    }
    // Bytes after the end of the archive are ignored, but the compressed data around it must be complete.
    await reader.drain();
  } finally {
    await reader.close();
  }
}

/** A copy of the current header, aligned so that it can be read as 32-bit words. */
const bytes = Buffer.from(new ArrayBuffer(blockBytes));
const words = new Int32Array(bytes.buffer);

/** @returns a message if the block is not a valid header */
function parseHeader(block: Uint8Array): Omit<TarHeader, "written"> | string {
  bytes.set(block);
  if (octal(148, 156) !== checksum()) return "has another checksum";
  const sizeBytes = bytes[124] === 0x80 ? largeSize(bytes.subarray(125, 136)) : octal(124, 136);
  if (sizeBytes === undefined) return "has a size that is not a number";
  const flag = String.fromCharCode(bytes[156] ?? 0);
  const prefix = bytes[262] === 0 && bytes.toString("latin1", 257, 262) === "ustar" ? untilNul(345, 500) : "";
  const name = untilNul(0, 100);
  const type = types.get(flag) ?? "other";
  // Other types have no content, whatever their size: the size of a link is that of its target.
  const hasContent = type === "file" || type === "other";
  const linksNothing = (type === "link" || type === "symlink") && bytes[157] === 0;
  return {
    name: prefix === "" ? name : `${prefix}/${name}`,
    type,
    flag,
    sizeBytes: hasContent ? sizeBytes : 0,
    linksNothing,
  };
}

/** The sum of all bytes, with the bytes of the checksum field counted as blanks. */
function checksum(): number {
  // Two sums in one word, of the even and of the odd bytes: neither reaches 2^16.
  let [even, odd] = [0, 0];
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? 0;
    even += word & 0x00ff00ff;
    odd += (word >>> 8) & 0x00ff00ff;
  }
  let sum = (even & 0xffff) + (even >>> 16) + (odd & 0xffff) + (odd >>> 16);
  for (let at = 148; at < 156; at++) sum += 0x20 - (bytes[at] ?? 0);
  return sum;
}

/** Octal digits after blanks, followed by blanks or NULs. @returns undefined for anything else */
function octal(start: number, end: number): number | undefined {
  let at = start;
  while (at < end && bytes[at] === 0x20) at++;
  let number = 0;
  for (let digit = octalDigit(at); at < end && digit !== undefined; digit = octalDigit(++at))
    number = number * 8 + digit;
  while (at < end && (bytes[at] === 0x20 || bytes[at] === 0)) at++;
  return at === end ? number : undefined;
}

function octalDigit(at: number): number | undefined {
  const digit = (bytes[at] ?? 0) - 0x30;
  return digit >= 0 && digit < 8 ? digit : undefined;
}

/** The binary format of GNU tar for large sizes: a number of 88 bits after a marker byte. */
function largeSize(field: Uint8Array): number | undefined {
  const size = Number(field.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n));
  return Number.isSafeInteger(size) ? size : undefined;
}

function untilNul(start: number, end: number): string {
  const nul = bytes.indexOf(0, start);
  return bytes.toString("latin1", start, nul === -1 || nul > end ? end : nul);
}

/** @returns undefined if the archive ends before */
async function readName(reader: ByteReader, sizeBytes: number): Promise<string | undefined> {
  if (sizeBytes > maxLongNameBytes)
    throw new Malformed("limit", `the name of a file in it is longer than ${maxLongNameBytes} bytes`);
  const bytes = await reader.read(sizeBytes);
  if (bytes.byteLength < sizeBytes) return undefined;
  const [text = ""] = asBuffer(bytes).toString("latin1").split("\0", 1);
  return text;
}

async function skip(reader: ByteReader, body: { left: number }, ending: () => Malformed): Promise<void> {
  while (body.left > 0) {
    const chunk = await reader.some(body.left);
    if (chunk === undefined) throw ending();
    body.left -= chunk.byteLength;
  }
}

function plainName(written: string): string {
  const name = written.startsWith("./") ? written.slice(2) : written;
  const end = name.endsWith("/") ? name.length - 1 : name.length;
  const plain = name.slice(0, end);
  return /(?:^|\/)\.?(?:\/|$)/.test(plain) ? withoutDots(plain) : plain;
}

const withoutDots = (name: string): string =>
  name
    .split("/")
    .filter((part) => part !== "" && part !== ".")
    .join("/");
