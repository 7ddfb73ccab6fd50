// Decompresses an .xz file that is in memory with the optimised liblzma. It blocks, so it is for worker threads.
import { asBuffer } from "../base/as-buffer.ts";
import type { OutputLimits } from "./decompression-limits.ts";
import { tooMuch } from "./decompression-limits.ts";

/** The sizes in the block headers of a file. */
interface XzBlocks {
  readonly plainBytes: number;
  /** The largest dictionary. */
  readonly dictionaryBytes: number;
}

/** The size of one output piece, in bytes. */
const pieceBytes = 2 ** 20;
/** An upper bound on the memory of a decoder besides its dictionary, in bytes. */
const decoderBytes = 2 ** 19;

const streamHeaderBytes = 12;
const streamFooterBytes = 12;
/** The size of a check by the number of its type. @see xz file format 1.1.0, 2.1.1.2 */
const checkBytes = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64] as const;

type Decode = (file: Buffer, plainBytes: number) => Iterable<Uint8Array>;
let decoder: Promise<Decode | undefined> | undefined;

/**
 * @returns the plain bytes in pieces; the iteration throws if the file is corrupt or truncated. Undefined if the file
 *   has another structure than those of `xz` and dpkg, if its decoder would need more memory than allowed, or if this
 *   liblzma is not installed: then the caller uses lzma-native
 * @throws Malformed `limit` for a file that would become too long, before any of it is decoded
 */
export async function decompressWhole(xz: Uint8Array, limits: OutputLimits): Promise<Iterable<Uint8Array> | undefined> {
  const file = asBuffer(xz);
  const blocks = blocksOf(file);
  if (blocks === undefined || blocks.dictionaryBytes + decoderBytes > limits.maxDecoderBytes) return undefined;
  if (blocks.plainBytes > limits.maxDecompressedBytes) throw tooMuch(limits);
  decoder ??= loadDecoder();
  const decode = await decoder;
  return decode?.(file, blocks.plainBytes);
}

/** LZMA_FINISH, LZMA_OK and LZMA_STREAM_END of liblzma. */
const finish = 3;
const ok = 0;
const streamEnd = 1;

async function loadDecoder(): Promise<Decode | undefined> {
  const found = await import("node-liblzma").catch(() => undefined);
  if (found === undefined) return undefined;
  // The functions of the library accept a truncated file as a whole one.
  class PieceByPiece extends found.Unxz {
    *decode(file: Buffer, plainBytes: number): Generator<Uint8Array> {
      let status = ok;
      for (let [left, plainLeft] = [file.length, plainBytes]; status === ok; ) {
        // One byte more, so that the same call can reach the end of the file.
        const piece = Buffer.allocUnsafeSlow(Math.min(pieceBytes, Math.max(0, plainLeft) + 1));
        const [result, unread, unused] = this.lzma.codeSync(finish, file, file.length - left, left, piece, 0);
        status = result;
        left = unread;
        plainLeft -= piece.length - unused;
        yield piece.subarray(0, piece.length - unused);
      }
      if (status !== streamEnd) throw new Error(`liblzma ended with status ${status}`);
    }
  }
  return function* (file, plainBytes) {
    const decoder = new PieceByPiece();
    try {
      yield* decoder.decode(file, plainBytes);
    } finally {
      decoder.close();
    }
  };
}

/**
 * Reads the headers of all chunks without decoding them, to learn the memory and output sizes in advance.
 * @returns undefined for everything other than one stream of blocks with LZMA2 as the only filter
 * @see xz file format 1.1.0; liblzma, src/liblzma/lzma/lzma2_decoder.c
 */
function blocksOf(file: Buffer): XzBlocks | undefined {
  const footer = file.length - streamFooterBytes;
  const check = checkBytes[file[7] ?? 0];
  if (footer < streamHeaderBytes || check === undefined) return undefined;
  let [plainBytes, dictionaryBytes, integers] = [0, 0, 1];
  let at = streamHeaderBytes;
  // A zero byte in place of a block header is the start of the index.
  while (file[at] !== 0) {
    const dictionary = dictionaryOf(file, at);
    const chunks = chunksOf(file, at + 4 * ((file[at] ?? 0) + 1), footer);
    if (dictionary === undefined || chunks === undefined) return undefined;
    dictionaryBytes = Math.max(dictionaryBytes, dictionary);
    plainBytes += chunks.plainBytes;
    integers += 2;
    at = Math.ceil(chunks.end / 4) * 4 + check;
    if (at >= footer) return undefined;
  }
  let end = at + 1;
  for (; integers > 0; integers--) end = behindInteger(file, end);
  // Otherwise another stream follows.
  return Math.ceil(end / 4) * 4 + 4 === footer ? { plainBytes, dictionaryBytes } : undefined;
}

/** The decompressed size of the chunks of one block, and where they end. */
function chunksOf(file: Buffer, start: number, footer: number): { plainBytes: number; end: number } | undefined {
  let [at, plainBytes] = [start, 0];
  for (let control = file[at]; control !== 0; control = file[at]) {
    if (control === undefined || at + 5 > footer || (control > 2 && control < 0x80)) return undefined;
    const isPlain = control <= 2;
    const chunkBytes = (isPlain ? 0 : (control & 0x1f) << 16) + file.readUInt16BE(at + 1) + 1;
    at += isPlain ? 3 + chunkBytes : (control < 0xc0 ? 5 : 6) + file.readUInt16BE(at + 3) + 1;
    plainBytes += chunkBytes;
  }
  return { plainBytes, end: at + 1 };
}

/** The dictionary size in a block header, if LZMA2 is the only filter. @see xz file format 1.1.0, 3.1, 5.3.1 */
function dictionaryOf(file: Buffer, header: number): number | undefined {
  const flags = file[header + 1] ?? 0;
  if ((flags & 0x3f) !== 0) return undefined;
  let at = header + 2;
  for (const isSizeThere of [flags & 0x40, flags & 0x80]) {
    if (isSizeThere !== 0) at = behindInteger(file, at);
  }
  const size = file[at + 2] ?? 0;
  if (file[at] !== 0x21 || file[at + 1] !== 1 || size > 40) return undefined;
  return size === 40 ? 2 ** 32 - 1 : (2 | (size & 1)) * 2 ** ((size >> 1) + 11);
}

/** @see xz file format 1.1.0, 1.2 */
function behindInteger(file: Buffer, start: number): number {
  let at = start;
  while ((file[at] ?? 0) >= 0x80) at++;
  return at + 1;
}
