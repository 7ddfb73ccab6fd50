// Joins separately compressed xz blocks into one stream, because apt reads only the first stream of a file.
import { asBuffer } from "../../base/as-buffer.ts";
import { RepoError } from "../../base/errors.ts";

/** The sizes of a block in the index of its stream. @see xz file format 1.1.0, 4.3 */
export interface XzBlockSizes {
  /** Header, compressed data and check, without the padding between data and check. */
  readonly unpaddedBytes: number;
  readonly uncompressedBytes: number;
}

/** One block of a stream, with padding and check. */
export interface XzBlock extends XzBlockSizes {
  readonly bytes: Uint8Array;
}

/** Bytes are not an xz stream of one block with CRC32, the only form that our encoders produce. */
export class XzFormError extends RepoError {
  readonly code = "indices/xz-form";
}

/** 2.1.1.2 */
const streamFlags = Buffer.from([0x00, 0x01]);

/**
 * The start of every joined stream: magic number, flags for CRC32 (which every decoder supports), their CRC32. 2.1.1
 */
export const xzStreamHeader: Uint8Array = Buffer.concat([
  Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]),
  streamFlags,
  crc32(streamFlags),
]);

/** The size of a block in the stream, padded to a multiple of four bytes. 3.3 */
export const paddedBytes = ({ unpaddedBytes }: XzBlockSizes): number => Math.ceil(unpaddedBytes / 4) * 4;

/** The index and footer at the end of a stream with these blocks, possibly none. 4 and 2.1.2 */
export function xzStreamEnd(blocks: Iterable<XzBlockSizes>): Uint8Array {
  const records = Array.from(blocks);
  const list = [0x00, ...integer(records.length)];
  for (const block of records) list.push(...integer(block.unpaddedBytes), ...integer(block.uncompressedBytes));
  while (list.length % 4 !== 0) list.push(0x00);
  const index = Buffer.from(list);
  const footer = Buffer.alloc(6);
  footer.writeUInt32LE(index.length / 4);
  streamFlags.copy(footer, 4);
  return Buffer.concat([index, crc32(index), crc32(footer), footer, Buffer.from("YZ")]);
}

/**
 * Extracts the only block of a stream.
 * @throws XzFormError
 */
export function blockOfStream(stream: Uint8Array): XzBlock {
  const bytes = asBuffer(stream);
  const footer = bytes.length - 12;
  const index = footer < 24 ? 0 : footer - (bytes.readUInt32LE(footer + 4) + 1) * 4;
  if (index < 12 || !bytes.subarray(0, 12).equals(xzStreamHeader) || bytes[index] !== 0x00 || bytes[index + 1] !== 1) {
    throw new XzFormError("not an xz stream of one block with CRC32");
  }
  const unpadded = readInteger(bytes, index + 2);
  const uncompressed = readInteger(bytes, unpadded.end);
  const block = {
    bytes: bytes.subarray(12, index),
    unpaddedBytes: unpadded.value,
    uncompressedBytes: uncompressed.value,
  };
  if (paddedBytes(block) !== block.bytes.length) throw new XzFormError("the xz index does not fit its block");
  return block;
}

/** CRC32 as in IEEE 802.3, little-endian. 1.1 (Node.js has its own since 20.15; an index has a few kilobytes.) */
function crc32(bytes: Uint8Array): Buffer {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  const out = Buffer.alloc(4);
  out.writeUInt32LE(~crc >>> 0);
  return out;
}

/** Seven bits per byte, the lowest first. 1.2 */
function integer(value: number): readonly number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return [...bytes, rest];
}

function readInteger(bytes: Uint8Array, start: number): { readonly value: number; readonly end: number } {
  let value = 0;
  for (let at = start; ; at++) {
    const byte = bytes[at] ?? 0;
    value += (byte & 0x7f) * 0x80 ** (at - start);
    if (byte < 0x80) return { value, end: at + 1 };
  }
}
