// Cuts a content after its first compressed stream: dpkg reads no further, but the decoder commands do.
import { asBuffer } from "../base/as-buffer.ts";
import { ByteReader } from "./byte-reader.ts";
import { Malformed } from "./malformed.ts";

/** The largest chunk that is passed on, in bytes. */
const sliceBytes = 2 ** 16;

export async function* inSlices(content: AsyncIterable<Uint8Array>, bytes: number): AsyncGenerator<Uint8Array> {
  for await (const chunk of content) {
    for (let at = 0; at < chunk.byteLength; at += bytes) yield chunk.subarray(at, at + bytes);
  }
}

const zstdMagic = 0xfd2fb528;
/** The last four bits can have any value. */
const skippableMagic = 0x184d2a50;

/**
 * Passes on the first frame. A content without a complete frame passes unchanged, because its decoder will report it.
 * @throws Malformed while iterating, if more than `maxTrailingBytes` follow the frame
 * @see RFC 8878 3.1
 */
export async function* firstZstdFrame(
  content: AsyncIterable<Uint8Array>,
  maxTrailingBytes: number,
): AsyncGenerator<Uint8Array> {
  const reader = new ByteReader(content);
  try {
    const start = asBuffer(await reader.read(5));
    yield start;
    if (start.length < 5) return;
    const magic = start.readUInt32LE();
    if (magic >>> 4 === skippableMagic >>> 4) {
      const size = Buffer.concat([start.subarray(4), await reader.read(3)]);
      yield size.subarray(1);
      if (size.length < 4) return;
      yield* exactly(reader, size.readUInt32LE());
    } else if (magic === zstdMagic) {
      yield* restOfFrame(reader, start[4] ?? 0);
    } else {
      yield* exactly(reader, Number.POSITIVE_INFINITY);
    }
    await dropTrailing(reader, maxTrailingBytes);
  } finally {
    await reader.close();
  }
}

async function* restOfFrame(reader: ByteReader, descriptor: number): AsyncGenerator<Uint8Array> {
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const dictionaryIdBytes = [0, 1, 2, 4][descriptor & 3] ?? 0;
  const contentSizeBytes = [isSingleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6] ?? 0;
  yield* exactly(reader, (isSingleSegment ? 0 : 1) + dictionaryIdBytes + contentSizeBytes);
  for (let isLast = false; !isLast; ) {
    const header = asBuffer(await reader.read(3));
    yield header;
    if (header.length < 3) return;
    const bits = header.readUIntLE(0, 3);
    isLast = (bits & 1) === 1;
    // A run of one byte is stored as that byte.
    yield* exactly(reader, ((bits >> 1) & 3) === 1 ? 1 : bits >> 3);
  }
  const hasChecksum = (descriptor & 4) !== 0;
  if (hasChecksum) yield* exactly(reader, 4);
}

/** Passes on so many bytes; fewer only if the content ends. */
async function* exactly(reader: ByteReader, bytes: number): AsyncGenerator<Uint8Array> {
  for (let left = bytes; left > 0; ) {
    const chunk = await reader.some(Math.min(left, sliceBytes));
    if (chunk === undefined) return;
    left -= chunk.byteLength;
    yield chunk;
  }
}

const bzip2HeaderBytes = 10;
/** The level, then the magic number of the first block, or that of the end in a stream without blocks. */
const bzip2Header = /BZh[1-9](?:1AY&SY|\x17rE8P\x90)/g;

/**
 * Passes on everything before the header of a second stream. The decoder ignores other bytes after the first stream.
 * @throws Malformed while iterating, if a second stream is longer than `maxTrailingBytes`
 */
export async function* firstBzip2Stream(
  content: AsyncIterable<Uint8Array>,
  maxTrailingBytes: number,
): AsyncGenerator<Uint8Array> {
  const reader = new ByteReader(content);
  try {
    let held = Buffer.of();
    let passedOn = 0;
    for (;;) {
      const chunk = await reader.some(sliceBytes);
      if (chunk === undefined) break;
      const text = Buffer.concat([held, chunk]);
      const second = secondHeader(text, passedOn === 0);
      if (second !== undefined) {
        yield text.subarray(0, second);
        await dropTrailing(reader, maxTrailingBytes - (text.length - second));
        return;
      }
      // The next chunk may complete a header that begins here.
      const whole = Math.max(0, text.length - bzip2HeaderBytes + 1);
      if (whole > 0) yield text.subarray(0, whole);
      passedOn += whole;
      held = text.subarray(whole);
    }
    yield held;
  } finally {
    await reader.close();
  }
}

/** @param isStart whether the header of the first stream is at the start */
function secondHeader(bytes: Buffer, isStart: boolean): number | undefined {
  for (const { index } of bytes.toString("latin1").matchAll(bzip2Header)) {
    if (!(isStart && index === 0)) return index;
  }
  return undefined;
}

async function dropTrailing(reader: ByteReader, most: number): Promise<void> {
  let bytes = 0;
  while (bytes <= most) {
    const chunk = await reader.some(sliceBytes);
    if (chunk === undefined) return;
    bytes += chunk.byteLength;
  }
  throw new Malformed("bad-compression", "too many bytes follow its compressed data, so that dpkg cannot unpack it");
}
