// One .xz stream of one block, by whichever liblzma is at hand: their bytes are equal, and a test holds them to it.

import { buffer } from "node:stream/consumers";
import type { LzmaOptions } from "lzma-native";
import { asBuffer } from "../../base/as-buffer.ts";

/** As `xz -1` and `xz -5`. */
export type XzPreset = 1 | 5;
export type XzEncoder = (plain: Uint8Array, preset: XzPreset) => Promise<Uint8Array>;

/** What liblzma makes of its presets. @see xz, src/liblzma/lzma/lzma_encoder_presets.c */
const presetOptions = {
  1: { mode: 1, mf: 0x04, niceLen: 128, depth: 8, dictSize: 2 ** 20, lc: 3, lp: 0, pb: 2 },
  5: { mode: 2, mf: 0x14, niceLen: 32, depth: 0, dictSize: 2 ** 23, lc: 3, lp: 0, pb: 2 },
} as const;

/** Options that lzma-native has and its types lack. */
interface StreamEncoderOptions extends LzmaOptions {
  readonly filters: readonly [{ readonly id: string; readonly options: (typeof presetOptions)[XzPreset] }];
}

/** Everywhere, but compiled without optimisation: it takes twice as long. */
export const byLzmaNative: XzEncoder = async (plain, preset) => {
  const { default: lzma } = await import("lzma-native");
  const options: StreamEncoderOptions = {
    // This is a thread of its own already. The check is lzma-native's default, CRC32.
    synchronous: true,
    filters: [{ id: "LZMA_FILTER_LZMA2", options: presetOptions[preset] }],
  };
  const encoder = lzma.createStream("streamEncoder", options);
  encoder.end(plain);
  return await buffer(encoder);
};

/** CRC32, as liblzma numbers its checks. */
const check = 1;

/** Only where its binary runs: x86-64 with glibc. */
export const byNodeLiblzma: XzEncoder = async (plain, preset) => {
  const { xzAsync } = await import("node-liblzma");
  return await xzAsync(asBuffer(plain), { preset, check });
};

let encoder: XzEncoder | undefined;

/**
 * Loads nothing before there is something to do: whoever ends a thread waits for its tasks, and a thread that is ended
 * while lzma-native is loaded or at work aborts the whole process.
 */
export const xzStream: XzEncoder = async (plain, preset) => {
  encoder ??= await import("node-liblzma").then(
    () => byNodeLiblzma,
    () => byLzmaNative,
  );
  return await encoder(plain, preset);
};
