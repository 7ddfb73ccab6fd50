// Encodes one .xz stream of one block with one of two builds of liblzma. A test checks that their bytes are equal.

import { buffer } from "node:stream/consumers";
import type { LzmaOptions } from "lzma-native";
import { asBuffer } from "../../base/as-buffer.ts";

/** As `xz -1` and `xz -5`. */
export type XzPreset = 1 | 5;
export type XzEncoder = (plain: Uint8Array, preset: XzPreset) => Promise<Uint8Array>;

/** The options of liblzma for its presets. @see xz, src/liblzma/lzma/lzma_encoder_presets.c */
const presetOptions = {
  1: { mode: 1, mf: 0x04, niceLen: 128, depth: 8, dictSize: 2 ** 20, lc: 3, lp: 0, pb: 2 },
  5: { mode: 2, mf: 0x14, niceLen: 32, depth: 0, dictSize: 2 ** 23, lc: 3, lp: 0, pb: 2 },
} as const;

/** Options of lzma-native that its types lack. */
interface StreamEncoderOptions extends LzmaOptions {
  readonly filters: readonly [{ readonly id: string; readonly options: (typeof presetOptions)[XzPreset] }];
}

/** Runs on every machine, but is compiled without optimisation and takes twice as long. */
export const byLzmaNative: XzEncoder = async (plain, preset) => {
  const { default: lzma } = await import("lzma-native");
  const options: StreamEncoderOptions = {
    // This runs in a worker thread already. The check is the default of lzma-native, CRC32.
    synchronous: true,
    filters: [{ id: "LZMA_FILTER_LZMA2", options: presetOptions[preset] }],
  };
  const encoder = lzma.createStream("streamEncoder", options);
  encoder.end(plain);
  return await buffer(encoder);
};

/** The number of CRC32 among the checks of liblzma. */
const check = 1;

/** Runs only on x86-64 with glibc. */
export const byNodeLiblzma: XzEncoder = async (plain, preset) => {
  const { xzAsync } = await import("node-liblzma");
  return await xzAsync(asBuffer(plain), { preset, check });
};

let encoder: XzEncoder | undefined;

/**
 * Loads a library on first use: a pool waits for running tasks before it ends a thread, and a thread that ends while
 * lzma-native is loaded or works aborts the whole process.
 */
export const xzStream: XzEncoder = async (plain, preset) => {
  encoder ??= await import("node-liblzma").then(
    () => byNodeLiblzma,
    () => byLzmaNative,
  );
  return await encoder(plain, preset);
};
