// The thread that compresses segments: whole buffers in, whole buffers out.

import { buffer } from "node:stream/consumers";
import type { LzmaOptions } from "lzma-native";
import { gzip } from "pako";
import type { CompressedSegment } from "./compress.ts";
import { blockOfStream } from "./xz-stitch.ts";

/** As `gzip -6`. */
const gzipLevel = 6;

/** Options that lzma-native has and its types lack; its numbers are liblzma's. */
interface StreamEncoderOptions extends LzmaOptions {
  readonly filters: readonly [{ readonly id: string; readonly options: Readonly<Record<string, number>> }];
}

/**
 * Preset 6 (normal mode, binary trees), but made for text: four bits of literal context and no position bits give half
 * a per cent for nothing, and matches that are long enough with 32 bytes in place of 64 make 0.8 % more in a quarter
 * less time.
 */
const textOptions = { mode: 2, mf: 0x14, niceLen: 32, lc: 4, lp: 0, pb: 0 } as const;

/**
 * Fast mode, hash chains, 128. Of the sorted paths of real Contents it makes 4 to 14 % less in half the time, because
 * what repeats there is long and lies near.
 */
const fastOptions = { mode: 1, mf: 0x04, niceLen: 128, lc: 4, lp: 0, pb: 0 } as const;

/**
 * Shorter stanzas than this, in bytes, are compressed fast too, in less than half the time and to some 7 % more. They
 * stand at the end of an index alone, until a segment several times as long takes their place, and pings wait for them.
 */
const fewStanzasBytes = 64 * 1024;

/**
 * xz knows no smaller dictionary. One as large as the segment would do, and a needlessly large one costs time to clear.
 */
const minDictionaryBytes = 4096;
/** More is never used: the largest matches of `xz -6` reach as far. */
const maxDictionaryBytes = 8 * 1024 * 1024;

/** Compresses stanzas. Equal bytes give equal results on every machine: neither library uses the machine's own. */
export const compressSegment = (plain: Uint8Array): Promise<CompressedSegment> =>
  compressed(plain, plain.length < fewStanzasBytes ? fastOptions : textOptions);

/** Compresses lines of Contents, in the same way. */
export const compressPaths = (plain: Uint8Array): Promise<CompressedSegment> => compressed(plain, fastOptions);

type EncoderOptions = typeof textOptions | typeof fastOptions;

async function compressed(plain: Uint8Array, options: EncoderOptions): Promise<CompressedSegment> {
  const xz = blockOfStream(await xzStream(plain, options));
  return { gz: gzip(plain, { level: gzipLevel }), xz, lines: countLines(plain) };
}

const lineFeed = 0x0a;

function countLines(plain: Uint8Array): number {
  let lines = 0;
  for (let at = plain.indexOf(lineFeed); at !== -1; at = plain.indexOf(lineFeed, at + 1)) lines += 1;
  return lines;
}

async function xzStream(plain: Uint8Array, encoderOptions: EncoderOptions): Promise<Uint8Array> {
  // Not before there is something to do: whoever ends a thread waits for its tasks, and a thread that is ended while
  // lzma-native is loaded or at work aborts the whole process.
  const { default: lzma } = await import("lzma-native");
  const fitting = 2 ** Math.ceil(Math.log2(Math.max(1, plain.length)));
  const dictSize = Math.min(maxDictionaryBytes, Math.max(minDictionaryBytes, fitting));
  // This is a thread of its own already. The check is lzma-native's default, CRC32.
  const options: StreamEncoderOptions = {
    synchronous: true,
    filters: [{ id: "LZMA_FILTER_LZMA2", options: { ...encoderOptions, dictSize } }],
  };
  const encoder = lzma.createStream("streamEncoder", options);
  encoder.end(plain);
  return await buffer(encoder);
}
