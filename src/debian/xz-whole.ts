// An .xz file that is at hand whole, decompressed in one call by the optimised liblzma: for threads, since it blocks.
import type { DecompressionLimits } from "./decompression-limits.ts";

/** What stands in a file of one stream and one block. */
interface SoleBlock {
  readonly plainBytes: number;
  readonly dictionaryBytes: number;
}

/** What more would come out, in bytes, is not put into one buffer. */
const maxPlainBytes = 16 * 2 ** 20;
/** What a decoder needs beside its dictionary and the plain bytes, in bytes: less than this. */
const decoderBytes = 2 ** 19;

const streamHeaderBytes = 12;
const streamFooterBytes = 12;
/** The size of a check by its type's number. @see xz file format 1.1.0, 2.1.1.2 */
const checkBytes = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64] as const;

type Decode = (file: Buffer, plain: Buffer) => number | undefined;
let decoder: Promise<Decode | undefined> | undefined;

/**
 * @returns undefined for a file of any other form than `xz` and dpkg give small ones, for a bad one, for one beyond a
 *   limit, and where there is no such liblzma: all of these are for the decoder that judges
 */
export async function decompressWhole(xz: Uint8Array, limits: DecompressionLimits): Promise<Uint8Array | undefined> {
  const file = Buffer.from(xz.buffer, xz.byteOffset, xz.byteLength);
  const block = soleBlock(file);
  if (block === undefined) return undefined;
  const { plainBytes, dictionaryBytes } = block;
  if (plainBytes > Math.min(maxPlainBytes, limits.maxDecompressedBytes)) return undefined;
  if (dictionaryBytes + decoderBytes > limits.maxDecoderBytes) return undefined;
  decoder ??= loadDecoder();
  const decode = await decoder;
  // One byte more, so that there is room for the decoder to come to the end of the file in the same call.
  const plain = Buffer.allocUnsafeSlow(plainBytes + 1);
  return decode?.(file, plain) === plainBytes ? plain.subarray(0, plainBytes) : undefined;
}

/** liblzma's LZMA_FINISH and LZMA_STREAM_END. */
const finish = 3;
const streamEnd = 1;

async function loadDecoder(): Promise<Decode | undefined> {
  const found = await import("node-liblzma").catch(() => undefined);
  if (found === undefined) return undefined;
  // Its own functions take a file that ends early for a whole one.
  class InOneCall extends found.Unxz {
    decode(file: Buffer, plain: Buffer): number | undefined {
      const [status, unread, unused] = this.lzma.codeSync(finish, file, 0, file.length, plain, 0);
      return status === streamEnd && unread === 0 ? plain.length - unused : undefined;
    }
  }
  return (file, plain) => {
    const decoder = new InOneCall();
    try {
      return decoder.decode(file, plain);
    } finally {
      decoder.close();
    }
  };
}

/**
 * Walks over the chunks of a file without decoding them: what its decoder will need is known before it is asked.
 * @returns undefined for any other form
 * @see xz file format 1.1.0; liblzma, src/liblzma/lzma/lzma2_decoder.c
 */
function soleBlock(file: Buffer): SoleBlock | undefined {
  const footer = file.length - streamFooterBytes;
  const check = checkBytes[file[7] ?? 0];
  if (footer < streamHeaderBytes + streamFooterBytes || check === undefined) return undefined;
  const dictionaryBytes = dictionaryOf(file);
  if (dictionaryBytes === undefined) return undefined;
  let at = streamHeaderBytes + 4 * ((file[streamHeaderBytes] ?? 0) + 1);
  let plainBytes = 0;
  for (let control = file[at]; control !== 0; control = file[at]) {
    if (control === undefined || at + 5 > footer || (control > 2 && control < 0x80)) return undefined;
    const isPlain = control <= 2;
    const chunkBytes = (isPlain ? 0 : (control & 0x1f) << 16) + file.readUInt16BE(at + 1) + 1;
    at += isPlain ? 3 + chunkBytes : (control < 0xc0 ? 5 : 6) + file.readUInt16BE(at + 3) + 1;
    plainBytes += chunkBytes;
  }
  // Behind the block's end and check comes the index, as long as the footer says: so nothing else can come.
  const index = Math.ceil((at + 1) / 4) * 4 + check;
  const isLast = index < footer && file[index] === 0 && 4 * (file.readUInt32LE(footer + 4) + 1) === footer - index;
  return isLast ? { plainBytes, dictionaryBytes } : undefined;
}

/** The dictionary that a block's header asks for, where LZMA2 is its only filter. @see xz file format 1.1.0, 3.1, 5.3.1 */
function dictionaryOf(file: Buffer): number | undefined {
  const flags = file[streamHeaderBytes + 1] ?? 0;
  if ((flags & 0x3f) !== 0) return undefined;
  let at = streamHeaderBytes + 2;
  for (const isSizeThere of [flags & 0x40, flags & 0x80]) {
    if (isSizeThere === 0) continue;
    while ((file[at] ?? 0) >= 0x80) at++;
    at++;
  }
  const size = file[at + 2] ?? 0;
  if (file[at] !== 0x21 || file[at + 1] !== 1 || size > 40) return undefined;
  return size === 40 ? 2 ** 32 - 1 : (2 | (size & 1)) * 2 ** ((size >> 1) + 11);
}
