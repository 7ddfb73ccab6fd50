// The worker thread that compresses segments. Input and output are whole buffers.
import { setImmediate } from "node:timers/promises";
import { gzip } from "pako";
import type { CompressedSegment } from "./compress.ts";
import type { XzPreset } from "./xz-encoder.ts";
import { xzStream } from "./xz-encoder.ts";
import { blockOfStream } from "./xz-stitch.ts";

/** As `gzip -6`. */
const smallGzipLevel = 6;
/** As `gzip -4`. For the sorted paths of Contents it takes half the time of level 6, for 2 % more bytes. */
const fastGzipLevel = 4;

/**
 * Normal mode, binary trees, matches that are long enough with 32 bytes. For the stanzas of Debian it takes three
 * quarters of the time of `xz -6`, for 1 % more bytes.
 */
const smallPreset = 5;

/**
 * Fast mode, hash chains. For the sorted paths of Contents it takes a third of the time, for as many bytes, because
 * repetitions are long and near.
 */
const fastPreset = 1;

/**
 * Segments shorter than this, in bytes, are compressed fast too, in a quarter of the time and with some 10 % more
 * bytes. They occur only at the end of an index, until a longer segment replaces them, and pings wait for them.
 */
const fewStanzasBytes = 64 * 1024;

/** Compresses stanzas. Equal bytes give equal results on every machine: no library of the system is used. */
export const compressSegment = (plain: Uint8Array): Promise<CompressedSegment> =>
  compressed(plain, plain.length < fewStanzasBytes ? fastPreset : smallPreset, smallGzipLevel);

/** Compresses lines of Contents. Equal bytes give equal results on every machine. */
export const compressPaths = (plain: Uint8Array): Promise<CompressedSegment> =>
  compressed(plain, fastPreset, fastGzipLevel);

async function compressed(plain: Uint8Array, preset: XzPreset, gzipLevel: 4 | 6): Promise<CompressedSegment> {
  const xz = xzStream(plain, preset);
  xz.catch(() => undefined);
  // Start xz first: liblzma has a thread of its own, while gzip uses this one.
  await setImmediate();
  const gz = gzip(plain, { level: gzipLevel });
  return { gz, xz: blockOfStream(await xz), lines: countLines(plain) };
}

const lineFeed = 0x0a;

function countLines(plain: Uint8Array): number {
  let lines = 0;
  for (let at = plain.indexOf(lineFeed); at !== -1; at = plain.indexOf(lineFeed, at + 1)) lines += 1;
  return lines;
}
