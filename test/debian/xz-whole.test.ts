// The output is that of xz, and files that xz refuses are refused.
import fc from "fast-check";
import { afterEach, expect, test, vi } from "vitest";
import { decompressWhole } from "../../src/debian/xz-whole.ts";
import { cases } from "../support/cases.ts";
import { runTool } from "../support/debs.ts";

const mebibyte = 2 ** 20;
const limits = { maxDecompressedBytes: 64 * mebibyte, maxDecoderBytes: 128 * mebibyte };
const xz = (plain: Uint8Array, ...options: readonly string[]) =>
  runTool("xz", ["-c", "-T1", ...options], Buffer.from(plain), "xz-utils");

const text = Buffer.from(Array.from({ length: 3000 }, (_none, index) => `line ${index * 7919}\n`).join(""));
/** Incompressible bytes, which xz stores in chunks of their own. */
const noise = Buffer.from(Array.from({ length: 200_000 }, (_none, index) => ((index * 2_654_435_761) >>> 13) & 0xff));
const mixed = Buffer.concat([text, noise, text]);

/** The output; "corrupt" for an error, and undefined for a file that is left to lzma-native. */
async function collected(file: Uint8Array, allowed = limits): Promise<Buffer | "corrupt" | undefined> {
  const pieces = await decompressWhole(file, allowed);
  try {
    return pieces && Buffer.concat([...pieces]);
  } catch {
    return "corrupt";
  }
}

const comesOut = async (file: Uint8Array, plain: Buffer): Promise<boolean> => {
  const found = await collected(file);
  return Buffer.isBuffer(found) && found.equals(plain);
};

/** The blocks of a file of one stream. */
const blocksOf = (file: Buffer) => file.subarray(12, -12 - 4 * (file.readUInt32LE(file.length - 8) + 1));

afterEach(() => {
  vi.doUnmock("node-liblzma");
  vi.resetModules();
});

test.each(["-0", "-6", "-9e", "-6 --check=crc32", "-6 --check=sha256", "-6 --check=none", "-6 --block-size=65536"])(
  "what xz %s makes comes out whole",
  async (options) => {
    for (const plain of [Buffer.of(), Buffer.of(7), text, noise, mixed, Buffer.alloc(5 * mebibyte)]) {
      expect(await comesOut(xz(plain, ...options.split(" ")), plain)).toBe(true);
    }
  },
);

test("the output of xz with several threads is decompressed", async () => {
  const plain = Buffer.concat([mixed, Buffer.alloc(3 * mebibyte), mixed]);
  expect(await comesOut(xz(plain, "-0", "-T2", "--block-size=1MiB"), plain)).toBe(true);
});

test("any bytes are compressed and decompressed without change", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 3000, size: "max" }), async (plain) => {
      expect(await comesOut(xz(plain), Buffer.from(plain))).toBe(true);
    }),
    { numRuns: 40 },
  );
});

test("a truncated file, or one with more bytes, is never accepted", async () => {
  const whole = xz(mixed);
  for (let end = 0; end < whole.length; end += end < 200 || end > whole.length - 200 ? 1 : 997) {
    expect(await collected(whole.subarray(0, end)), `${end} bytes`).toBeUndefined();
  }
  for (const more of [Buffer.from("garbage!"), Buffer.alloc(4), whole]) {
    expect(await collected(Buffer.concat([whole, more]))).toBeUndefined();
  }
});

test("a truncated file with a valid index and footer is not accepted either", async () => {
  const whole = xz(mixed);
  const end = whole.subarray(12 + blocksOf(whole).length);
  for (let at = 24; at < whole.length - end.length; at += 499) {
    expect(await collected(Buffer.concat([whole.subarray(0, at), end]))).toBeUndefined();
  }
  // Whole chunks, and behind them the end of the block, but not the rest of them.
  const [one, two] = [xz(text, "--block-size=16384"), xz(text.subarray(0, 16384))];
  const short = Buffer.concat([one.subarray(0, 12), blocksOf(two), one.subarray(12 + blocksOf(one).length)]);
  expect(await collected(short)).toBeUndefined();
});

test("a flipped bit never gives other output", async () => {
  const whole = xz(text);
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: whole.length * 8 - 1 }), async (at) => {
      const flipped = Buffer.from(whole);
      flipped[at >> 3]! ^= 1 << (at & 7);
      const found = await collected(flipped);
      expect(!Buffer.isBuffer(found) || found.equals(text)).toBe(true);
    }),
    { numRuns: cases(300) },
  );
  const late = Buffer.from(whole);
  late[whole.length >> 1]! ^= 1;
  expect(await collected(late)).toBe("corrupt");
});

test.each([
  ["another filter", ["--x86", "--lzma2=preset=6"]],
  ["no xz form", ["--format=lzma"]],
])("a file in the format %s is left to lzma-native", async (_form, options) => {
  expect(await collected(xz(mixed, ...options))).toBeUndefined();
});

test("no block gets a larger dictionary than allowed, wherever it is", async () => {
  const [small, large] = [xz(text, "--lzma2=preset=0,dict=64KiB"), xz(text, "--lzma2=preset=0,dict=512MiB")];
  const end = small.subarray(12 + blocksOf(small).length);
  expect(await comesOut(small, text)).toBe(true);
  expect(await collected(large)).toBeUndefined();
  expect(
    await collected(Buffer.concat([small.subarray(0, 12), blocksOf(small), blocksOf(large), end])),
  ).toBeUndefined();
  // A separate stream, hidden in what the last footer describes as the index.
  const hidden = Buffer.concat([small, large]);
  hidden.writeUInt32LE((hidden.length - 24 - blocksOf(small).length) / 4 - 1, hidden.length - 8);
  expect(await collected(hidden)).toBeUndefined();
});

test("a file whose decoder would need more memory than allowed is left to lzma-native", async () => {
  const strong = xz(text, "-9");
  expect(await comesOut(strong, text)).toBe(true);
  expect(await collected(strong, { ...limits, maxDecoderBytes: 64 * mebibyte })).toBeUndefined();
});

test("a bomb is decompressed in pieces", async () => {
  const generous = { ...limits, maxDecompressedBytes: 128 * mebibyte };
  const pieces = (await decompressWhole(xz(Buffer.alloc(100 * mebibyte)), generous)) ?? [];
  let sizeBytes = 0;
  for (const piece of pieces) {
    expect(piece.length).toBeLessThanOrEqual(mebibyte);
    sizeBytes += piece.length;
    if (sizeBytes > 3 * mebibyte) break;
  }
  expect(sizeBytes).toBeLessThanOrEqual(4 * mebibyte);
});

test("a bomb beyond the limit is refused before any of it is decompressed", async () => {
  await expect(decompressWhole(xz(Buffer.alloc(100 * mebibyte)), limits)).rejects.toThrow(
    "max_decompressed_bytes = 67108864",
  );
});

test("if node-liblzma cannot be loaded, all files are left to lzma-native", async () => {
  vi.resetModules();
  vi.doMock("node-liblzma", () => {
    throw new Error("no binary for this machine");
  });
  const { decompressWhole: without } = await import("../../src/debian/xz-whole.ts");
  expect(await without(xz(text), limits)).toBeUndefined();
});
