// What is decompressed in one call is what xz would give, and never what xz would refuse.
import fc from "fast-check";
import { afterEach, expect, test, vi } from "vitest";
import { decompressWhole } from "../../src/debian/xz-whole.ts";
import { runTool } from "../support/debs.ts";

const mebibyte = 2 ** 20;
const limits = { maxDecompressedBytes: 64 * mebibyte, maxDecoderBytes: 128 * mebibyte };
const xz = (plain: Uint8Array, ...options: readonly string[]) =>
  runTool("xz", ["-c", "-T1", ...options], Buffer.from(plain), "xz-utils");

const text = Buffer.from(Array.from({ length: 3000 }, (_none, index) => `line ${index * 7919}\n`).join(""));
/** Does not compress: xz puts such bytes as they are into chunks of their own. */
const noise = Buffer.from(Array.from({ length: 200_000 }, (_none, index) => ((index * 2_654_435_761) >>> 13) & 0xff));
const mixed = Buffer.concat([text, noise, text]);

const same = (found: Uint8Array | undefined, plain: Uint8Array): boolean =>
  found !== undefined && Buffer.compare(found, plain) === 0;

afterEach(() => {
  vi.doUnmock("node-liblzma");
  vi.resetModules();
});

test.each(["-0", "-6", "-9e", "-6 --check=crc32", "-6 --check=sha256", "-6 --check=none", "-6 -T2"])(
  "what xz %s makes comes out in one call",
  async (options) => {
    for (const plain of [Buffer.of(7), text, noise, mixed, Buffer.alloc(5 * mebibyte)]) {
      expect(same(await decompressWhole(xz(plain, ...options.split(" ")), limits), plain)).toBe(true);
    }
  },
);

test("bytes of any kind come out as they were", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 3000, size: "max" }), async (plain) => {
      expect(same(await decompressWhole(xz(plain), limits), plain)).toBe(true);
    }),
    { numRuns: 40 },
  );
});

test("an empty content has no block, and is left to the decoder that reads all forms", async () => {
  expect(await decompressWhole(xz(Buffer.of()), limits)).toBeUndefined();
});

test("a file that ends early, or goes on, is left to the decoder that says why", async () => {
  const whole = xz(mixed);
  for (let end = 0; end < whole.length; end += end < 200 || end > whole.length - 200 ? 1 : 997) {
    expect(await decompressWhole(whole.subarray(0, end), limits), `${end} bytes`).toBeUndefined();
  }
  for (const more of [Buffer.from("garbage!"), Buffer.alloc(4), whole]) {
    expect(await decompressWhole(Buffer.concat([whole, more]), limits)).toBeUndefined();
  }
});

test("a file that ends early is left to it also where a footer closes it", async () => {
  const whole = xz(mixed);
  const footer = whole.subarray(-12);
  for (let end = 24; end < whole.length - 12; end += 499) {
    expect(await decompressWhole(Buffer.concat([whole.subarray(0, end), footer]), limits)).toBeUndefined();
  }
});

test("a flipped bit is left to it or changes nothing", async () => {
  const whole = xz(text);
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: whole.length * 8 - 1 }), async (at) => {
      const flipped = Buffer.from(whole);
      flipped[at >> 3]! ^= 1 << (at & 7);
      const plain = await decompressWhole(flipped, limits);
      expect(plain === undefined || same(plain, text)).toBe(true);
    }),
    { numRuns: 300 },
  );
});

test.each([
  ["several blocks", ["--block-size=65536"]],
  ["another filter", ["--x86", "--lzma2=preset=6"]],
  ["no xz form", ["--format=lzma"]],
])("a file of %s is left to it", async (_form, options) => {
  expect(await decompressWhole(xz(mixed, ...options), limits)).toBeUndefined();
});

test("a second block with a larger dictionary does not get one, though the index tells of one block", async () => {
  const [small, large] = [xz(text, "--lzma2=preset=0,dict=64KiB"), xz(text, "--lzma2=preset=0,dict=512MiB")];
  const blockOf = (file: Buffer) => file.subarray(12, -12 - 4 * (file.readUInt32LE(file.length - 8) + 1));
  const joined = Buffer.concat([
    small.subarray(0, 12),
    blockOf(small),
    blockOf(large),
    small.subarray(12 + blockOf(small).length),
  ]);
  expect(await decompressWhole(joined, limits)).toBeUndefined();
});

test("what is beyond a limit is left to it", async () => {
  const strong = xz(text, "-9");
  expect(same(await decompressWhole(strong, limits), text)).toBe(true);
  expect(await decompressWhole(strong, { ...limits, maxDecoderBytes: 64 * mebibyte })).toBeUndefined();
  expect(await decompressWhole(strong, { ...limits, maxDecompressedBytes: text.length - 1 })).toBeUndefined();
  expect(same(await decompressWhole(strong, { ...limits, maxDecompressedBytes: text.length }), text)).toBe(true);
  expect(await decompressWhole(xz(Buffer.alloc(17 * mebibyte)), limits)).toBeUndefined();
});

test("where node-liblzma can't be loaded, all files are left to it", async () => {
  vi.resetModules();
  vi.doMock("node-liblzma", () => {
    throw new Error("no binary for this machine");
  });
  const { decompressWhole: without } = await import("../../src/debian/xz-whole.ts");
  expect(await without(xz(text), limits)).toBeUndefined();
});
