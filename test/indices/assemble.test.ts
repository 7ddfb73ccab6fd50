// Assembling an index: correct sizes and digests, without reading unchanged parts again.
import { createHash } from "node:crypto";
import { gunzipSync } from "node:zlib";
import { afterAll, expect, test } from "vitest";
import { yieldToEventLoop } from "../../src/base/yield-to-event-loop.ts";
import type { AssembledIndex, IndexForm, SegmentSizes } from "../../src/indices/assemble.ts";
import { assemble } from "../../src/indices/assemble.ts";
import type { CompressedSegment } from "../../src/indices/compression/compress.ts";
import { createCompressor } from "../../src/indices/compression/compress.ts";
import { runTool } from "../support/debs.ts";

const compressor = createCompressor({ threads: 2 });
afterAll(() => compressor.close());
const signal = new AbortController().signal;
const yieldNow = yieldToEventLoop(signal);

/** Segments kept in memory, with the reads counted. */
class MemorySegments {
  readonly #segments = new Map<string, CompressedSegment & { readonly plain: Uint8Array }>();
  readonly reads: string[] = [];

  async put(text: string): Promise<SegmentSizes> {
    const plain = Buffer.from(text);
    const compressed = await compressor.compress(plain, signal);
    const id = createHash("sha256").update(text).digest("hex");
    this.#segments.set(id, { ...compressed, plain });
    const { unpaddedBytes, uncompressedBytes } = compressed.xz;
    return { id, gzBytes: compressed.gz.length, unpaddedBytes, uncompressedBytes, lines: compressed.lines };
  }
  bytesOf(id: string, form: IndexForm): Uint8Array {
    const { plain, gz, xz } = this.#segments.get(id)!;
    return { plain, gz, xz: xz.bytes }[form];
  }
  readonly read = (id: string, form: IndexForm): Uint8Array => {
    this.reads.push(id);
    return this.bytesOf(id, form);
  };
  fileOf(index: AssembledIndex, form: IndexForm): Buffer {
    return Buffer.concat(
      index.forms[form].parts.map((part) => (part.kind === "literal" ? part.bytes : this.bytesOf(part.id, form))),
    );
  }
}

const algorithms = ["md5", "sha256"] as const;

function expectTrue(index: AssembledIndex, stored: MemorySegments, text: string): void {
  for (const form of ["plain", "gz", "xz"] as const) {
    const file = stored.fileOf(index, form);
    expect(index.forms[form].sizeBytes).toBe(file.length);
    expect(index.forms[form].digests).toEqual({
      md5: createHash("md5").update(file).digest("hex"),
      sha256: createHash("sha256").update(file).digest("hex"),
    });
  }
  expect(stored.fileOf(index, "plain").toString()).toBe(text);
  expect(gunzipSync(stored.fileOf(index, "gz")).toString()).toBe(text);
  expect(runTool("xz", ["-dc"], stored.fileOf(index, "xz"), "xz-utils").toString()).toBe(text);
}

test("the sizes and digests of every form are those of its parts' bytes", async () => {
  const stored = new MemorySegments();
  const segments = [await stored.put("one\n"), await stored.put("two\n"), await stored.put("three\n")];
  expectTrue(await assemble(segments, stored.read, algorithms, undefined, yieldNow), stored, "one\ntwo\nthree\n");
});

test("an empty index is valid in every form", async () => {
  const stored = new MemorySegments();
  const empty = await assemble([], stored.read, algorithms, undefined, yieldNow);
  expectTrue(empty, stored, "");
  expect(empty.forms.plain.sizeBytes).toBe(0);
  runTool("gzip", ["-t"], stored.fileOf(empty, "gz"));
});

test("only segments after the first difference are read again, and the digests are correct", async () => {
  const stored = new MemorySegments();
  const [a, b, c, d, e] = await Promise.all(["a\n", "b\n", "c\n", "d\n", "e\n"].map((text) => stored.put(text)));
  let index = await assemble([a!, b!, c!], stored.read, algorithms, undefined, yieldNow);
  const steps: readonly (readonly [readonly SegmentSizes[], string, number])[] = [
    [[a!, b!, c!, d!], "a\nb\nc\nd\n", 1],
    [[a!, b!, c!, d!], "a\nb\nc\nd\n", 0],
    [[a!, b!, c!], "a\nb\nc\n", 0],
    [[a!, e!, c!], "a\ne\nc\n", 2],
    [[], "", 0],
    [[b!], "b\n", 1],
  ];
  for (const [segments, text, fresh] of steps) {
    stored.reads.length = 0;
    index = await assemble(segments, stored.read, algorithms, index, yieldNow);
    expect(stored.reads).toHaveLength(3 * fresh);
    expectTrue(index, stored, text);
  }
});

test("an earlier assembly with other algorithms is ignored", async () => {
  const stored = new MemorySegments();
  const segments = [await stored.put("one\n")];
  const before = await assemble(segments, stored.read, ["sha512"], undefined, yieldNow);
  expectTrue(await assemble(segments, stored.read, algorithms, before, yieldNow), stored, "one\n");
});

test("a stored segment of another size is an error, not a wrong digest", async () => {
  const stored = new MemorySegments();
  const segment = await stored.put("one\n");
  const cutShort = (id: string, form: IndexForm): Uint8Array => stored.read(id, form).subarray(1);
  await expect(assemble([segment], cutShort, algorithms, undefined, yieldNow)).rejects.toThrow("not as long");
});

test("the plain form is read and hashed while a segment is still being compressed, to the same digests", async () => {
  const stored = new MemorySegments();
  const [a, b, c] = await Promise.all(["one\n", "two\n", "three\n"].map((text) => stored.put(text)));
  const before = await assemble([a!, c!], stored.read, algorithms, undefined, yieldNow);
  stored.reads.length = 0;
  let finish = (_sizes: SegmentSizes): void => undefined;
  const made = new Promise<SegmentSizes>((resolve) => {
    finish = resolve;
  });
  const coming = { id: b!.id, rendered: Promise.resolve(b!.uncompressedBytes), made };
  const assembling = assemble([a!, coming, c!], stored.read, algorithms, before, yieldNow);
  await expect.poll(() => stored.reads).toEqual([b!.id, c!.id]);
  finish(b!);
  expectTrue(await assembling, stored, "one\ntwo\nthree\n");
});

test("an index is not assembled if a segment cannot be made", async () => {
  const stored = new MemorySegments();
  const whole = await stored.put("one\n");
  const failure = new Error("no such inspection");
  const made = Promise.reject(failure);
  made.catch(() => undefined);
  for (const rendered of [Promise.resolve(4), made]) {
    const coming = { id: whole.id, rendered, made };
    await expect(assemble([coming], stored.read, algorithms, undefined, yieldNow)).rejects.toBe(failure);
  }
});
