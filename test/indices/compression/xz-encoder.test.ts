// Two builds of liblzma, of which a machine may have one: both must make the same bytes.
import { spawnSync } from "node:child_process";
import fc from "fast-check";
import { afterEach, expect, test, vi } from "vitest";
import type { XzPreset } from "../../../src/indices/compression/xz-encoder.ts";
import { byLzmaNative, byNodeLiblzma } from "../../../src/indices/compression/xz-encoder.ts";
import { cases } from "../../support/cases.ts";

const presets = [1, 5] as const satisfies readonly XzPreset[];

/** Words that repeat near and far, as in stanzas, with some random bytes among them. */
const texts = fc
  .record({
    words: fc.array(fc.string({ minLength: 1, maxLength: 24 }), { minLength: 1, maxLength: 400 }),
    picks: fc.array(fc.nat(), { maxLength: 20_000, size: "max" }),
    noise: fc.uint8Array({ maxLength: 5_000, size: "max" }),
  })
  .map(({ words, picks, noise }) =>
    Buffer.concat([Buffer.from(picks.map((pick) => words[pick % words.length]).join("\n")), noise]),
  );

afterEach(() => {
  vi.doUnmock("node-liblzma");
  vi.resetModules();
});

test("lzma-native and node-liblzma make the same bytes", { timeout: 120_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(texts, fc.constantFrom(...presets), async (text, preset) => {
      expect(Buffer.from(await byNodeLiblzma(text, preset)).equals(await byLzmaNative(text, preset))).toBe(true);
    }),
    { numRuns: cases(60) },
  );
});

test.each(presets)("their bytes are those of xz -%i", async (preset) => {
  const text = Buffer.from(
    Array.from({ length: 20_000 }, (_, line) => `usr/share/doc/${line % 977}/${line}\n`).join(""),
  );
  const { stdout } = spawnSync("xz", [`-${preset}`, "-c", "-T1", "--check=crc32"], { input: text });
  expect(Buffer.from(await byNodeLiblzma(text, preset)).equals(stdout)).toBe(true);
});

test("if node-liblzma cannot be loaded, lzma-native is used", async () => {
  vi.resetModules();
  vi.doMock("node-liblzma", () => {
    throw new Error("no binary for this machine");
  });
  const { xzStream } = await import("../../../src/indices/compression/xz-encoder.ts");
  const text = Buffer.from("Package: a\n".repeat(1_000));
  expect(Buffer.from(await xzStream(text, 5)).equals(await byLzmaNative(text, 5))).toBe(true);
});
