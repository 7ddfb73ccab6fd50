// The thread that compresses segments: whole buffers in, whole buffers out.
import { setImmediate } from "node:timers/promises";
import { gzip } from "pako";
import type { CompressedSegment } from "./compress.ts";
import type { XzPreset } from "./xz-encoder.ts";
import { xzStream } from "./xz-encoder.ts";
import { blockOfStream } from "./xz-stitch.ts";

/** As `gzip -6`. */
const smallGzipLevel = 6;
/** As `gzip -4`. Of the sorted paths of Contents it takes half of the time, and makes 2 % more. */
const fastGzipLevel = 4;

/**
 * Normal mode, binary trees, matches that are long enough with 32 bytes: of Debian's stanzas, three quarters of the
 * time of `xz -6`, and 1 % more bytes.
 */
const smallPreset = 5;

/**
 * Fast mode, hash chains. Of the sorted paths of Contents it takes a third of the time and makes as much, because what
 * repeats there is long and lies near.
 */
const fastPreset = 1;

/**
 * Shorter stanzas than this, in bytes, are compressed fast too, in a quarter of the time and to some 10 % more. They
 * stand at the end of an index alone, until a segment several times as long takes their place, and pings wait for them.
 */
const fewStanzasBytes = 64 * 1024;

/** Compresses stanzas. Equal bytes give equal results on every machine: neither library uses the machine's own. */
export const compressSegment = (plain: Uint8Array): Promise<CompressedSegment> =>
  compressed(plain, plain.length < fewStanzasBytes ? fastPreset : smallPreset, smallGzipLevel);

/** Compresses lines of Contents, in the same way. */
export const compressPaths = (plain: Uint8Array): Promise<CompressedSegment> =>
  compressed(plain, fastPreset, fastGzipLevel);

async function compressed(plain: Uint8Array, preset: XzPreset, gzipLevel: 4 | 6): Promise<CompressedSegment> {
  const xz = xzStream(plain, preset);
  xz.catch(() => undefined);
  // Once liblzma is at work in a thread of its own, gzip takes this one.
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
