// Every format is decompressed completely or with an error, in whatever chunks the bytes arrive.
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import type { Compression } from "../../src/debian/decompress.ts";
import { decompress } from "../../src/debian/decompress.ts";
import { Malformed } from "../../src/debian/malformed.ts";
import { cases } from "../support/cases.ts";
import { compressed, inChunks, runTool } from "../support/debs.ts";

const mebibyte = 2 ** 20;
const limits = { maxDecompressedBytes: 4 * mebibyte, maxDecoderBytes: 64 * mebibyte };
const formats = ["gz", "xz", "zst", "bz2", "lzma"] as const;
/** A .lzma has neither checksums nor a second stream. */
const checkedFormats = ["gz", "xz", "zst", "bz2"] as const;
/** Formats that need no process can be tested often. */
const tries: { readonly [Format in Compression]: number } = { none: 200, gz: 200, xz: 200, zst: 15, bz2: 15, lzma: 15 };

async function collect(
  compression: Compression,
  content: AsyncIterable<Uint8Array>,
  allowed = limits,
): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of decompress(compression, content, allowed)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function flawOf(result: Promise<unknown>): Promise<string> {
  try {
    await result;
  } catch (thrown) {
    if (thrown instanceof Malformed) return thrown.flaw;
    throw thrown;
  }
  return "none";
}

const text = Buffer.from(Array.from({ length: 300 }, (_none, index) => `line ${index * 7919}\n`).join(""));
/** Incompressible bytes, so that the compressed form is longer than what is decompressed in one call. */
const noise = Buffer.from(Array.from({ length: 200_000 }, (_none, index) => ((index * 2_654_435_761) >>> 13) & 0xff));

test.each(["none", ...formats] as const)("%s gives the plain bytes, whatever the chunks are", async (format) => {
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ maxLength: 3000 }),
      fc.integer({ min: 1, max: 500 }),
      async (plain, chunkBytes) => {
        expect(await collect(format, inChunks(await compressed(format, plain), chunkBytes))).toEqual(
          Buffer.from(plain),
        );
      },
    ),
    { numRuns: cases(tries[format] / 5) },
  );
});

test.each(["none", ...formats] as const)("larger content in %s is streamed", async (format) => {
  expect((await collect(format, inChunks(await compressed(format, noise), 10_007))).equals(noise)).toBe(true);
});

test.each(formats)("truncated %s is an error at every byte", async (format) => {
  const whole = await compressed(format, text);
  const step = Math.ceil(whole.length / cases(tries[format]));
  for (let end = 0; end < whole.length; end += step) {
    expect(await flawOf(collect(format, inChunks(whole.subarray(0, end), 100))), `${end} bytes`).toBe(
      "bad-compression",
    );
  }
  expect(await flawOf(collect(format, inChunks(whole.subarray(0, -1))))).toBe("bad-compression");
});

test.each(formats)("truncated %s is also an error if it is long", async (format) => {
  const whole = await compressed(format, noise);
  expect(await flawOf(collect(format, inChunks(whole.subarray(0, -1), 10_007)))).toBe("bad-compression");
});

test.each(checkedFormats)("a flipped bit in %s is an error or changes nothing", async (format) => {
  const whole = await compressed(format, text);
  const bit = fc.integer({ min: 0, max: whole.length * 8 - 1 });
  await fc.assert(
    fc.asyncProperty(bit, async (at) => {
      const flipped = Buffer.from(whole);
      flipped[at >> 3]! ^= 1 << (at & 7);
      const plain = await collect(format, inChunks(flipped)).catch((thrown: unknown) => thrown);
      if (plain instanceof Malformed) expect(plain.flaw).toMatch(/^(bad-compression|limit)$/);
      else expect(plain).toEqual(text);
    }),
    { numRuns: cases(tries[format]) },
  );
});

test.each(checkedFormats)("two consecutive %s streams are one content, whatever the chunks are", async (format) => {
  const two = Buffer.concat([await compressed(format, text), await compressed(format, text)]);
  const step = Math.ceil(two.length / cases(tries[format]));
  for (let cut = 1; cut < two.length; cut += step) {
    const content = (async function* () {
      yield two.subarray(0, cut);
      yield two.subarray(cut);
    })();
    expect((await collect(format, content)).equals(Buffer.concat([text, text])), `cut at ${cut}`).toBe(true);
  }
});

test.each(["gz", "xz", "zst"] as const)("garbage after %s is an error", async (format) => {
  const whole = Buffer.concat([await compressed(format, text), Buffer.from("garbage!")]);
  expect(await flawOf(collect(format, inChunks(whole)))).toBe("bad-compression");
  expect(await flawOf(collect(format, inChunks(whole, 1)))).toBe("bad-compression");
});

test.each(formats)("%s stops at the limit, long before a bomb is decompressed", async (format) => {
  // The whole xz bomb fits into one chunk: without slices the decoder would output all of it.
  const bomb = await compressed(format, Buffer.alloc((format === "xz" ? 160 : 64) * mebibyte));
  const before = process.memoryUsage().rss;
  expect(await flawOf(collect(format, inChunks(bomb)))).toBe("limit");
  expect(process.memoryUsage().rss - before).toBeLessThan(100 * mebibyte);
});

test("a long gzip that exceeds the limit late stops too", async () => {
  const bomb = Buffer.concat([gzipSync(noise), gzipSync(Buffer.alloc(8 * mebibyte))]);
  expect(await flawOf(collect("gz", inChunks(bomb, 1000)))).toBe("limit");
});

test("xz and zstd that need more memory than allowed are refused", async () => {
  const little = { ...limits, maxDecoderBytes: mebibyte };
  const strong = runTool("xz", ["-c9"], text, "xz-utils");
  expect(await flawOf(collect("xz", inChunks(strong), little))).toBe("limit");
  expect(await flawOf(collect("xz", inChunks(strong), { ...limits, maxDecoderBytes: 66 * mebibyte }))).toBe("none");
  const wide = runTool("zstd", ["-qc", "--ultra", "-22", "--long=27"], Buffer.alloc(3 * mebibyte, "abcdefgh"));
  expect(await flawOf(collect("zst", inChunks(wide), little))).toBe("bad-compression");
});

test.each(["none", ...formats] as const)("errors of the content of %s pass through unchanged", async (format) => {
  const whole = await compressed(format, noise);
  const lost = new Error("the grid is away");
  for (const before of [0, 10, 100_000]) {
    const content = (async function* () {
      yield* inChunks(whole.subarray(0, before), 1000);
      throw lost;
    })();
    await expect(collect(format, content)).rejects.toBe(lost);
  }
});

test.each(["none", ...formats] as const)("a reader of %s that stops early closes the content", async (format) => {
  const whole = await compressed(format, noise);
  let closed = false;
  const content = (async function* () {
    try {
      for (;;) yield* inChunks(whole, 1000);
    } finally {
      closed = true;
    }
  })();
  for await (const _chunk of decompress(format, content, limits)) break;
  await expect.poll(() => closed).toBe(true);
});

test("in the main thread, requests are answered while xz is decompressed", async () => {
  const bomb = await compressed("xz", Buffer.alloc(2 ** 27));
  let turns = 0;
  const counting = setInterval(() => turns++, 1);
  onTestFinished(() => clearInterval(counting));
  for await (const _chunk of decompress("xz", inChunks(bomb), { ...limits, maxDecompressedBytes: 2 ** 27 }));
  // With slices of 4 KiB there would be five.
  expect(turns).toBeGreaterThan(20);
});
