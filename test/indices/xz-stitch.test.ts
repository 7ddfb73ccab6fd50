// Joined xz streams and gzip members are read back by the usual tools.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { createCompressor } from "../../src/indices/compression/compress.ts";
import { blockOfStream, XzFormError, xzStreamEnd, xzStreamHeader } from "../../src/indices/compression/xz-stitch.ts";
import { runTool } from "../support/debs.ts";

const compressor = createCompressor({ threads: 2 });
afterAll(() => compressor.close());
const signal = new AbortController().signal;

const pythonLzma = "import lzma,sys; sys.stdout.buffer.write(lzma.decompress(sys.stdin.buffer.read()))";
const anySegment = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 300 }),
  fc.string({ minLength: 1, maxLength: 2000 }).map((text) => Buffer.from(text)),
  fc.nat(300_000).map((length) => Buffer.from("Package: x\nVersion: YZ\n\n".repeat(length / 24 + 1))),
);

async function stitched(segments: readonly Uint8Array[]): Promise<{ readonly xz: Buffer; readonly gz: Buffer }> {
  const compressed = await Promise.all(segments.map((segment) => compressor.compress(segment, signal)));
  const blocks = compressed.map((segment) => segment.xz);
  return {
    xz: Buffer.concat([xzStreamHeader, ...blocks.map((block) => block.bytes), xzStreamEnd(blocks)]),
    gz: Buffer.concat(compressed.map((segment) => segment.gz)),
  };
}

test("the blocks of any segments make one stream that xz and the lzma module of Python read back", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anySegment, { maxLength: 6 }), async (segments) => {
      const { xz: stream } = await stitched(segments);
      const plain = Buffer.concat(segments);
      runTool("xz", ["-t"], stream, "xz-utils");
      expect(runTool("xz", ["-dc"], stream, "xz-utils").equals(plain)).toBe(true);
      expect(runTool("python3", ["-c", pythonLzma], stream).equals(plain)).toBe(true);
    }),
    { numRuns: 12 },
  );
});

test("xz counts one stream with a block for each segment", async () => {
  const { xz: stream } = await stitched([Buffer.from("one"), Buffer.from("two"), Buffer.from("three")]);
  const directory = mkdtempSync(join(tmpdir(), "stitch-"));
  writeFileSync(join(directory, "three.xz"), stream);
  const listed = runTool("xz", ["--robot", "--list", join(directory, "three.xz")], "", "xz-utils");
  rmSync(directory, { recursive: true });
  expect(listed.toString()).toMatch(/^file\t1\t3\t/m);
});

test("an index of several hundred blocks is read back", async () => {
  const segments = Array.from({ length: 300 }, (_, n) => Buffer.from(`segment ${n}\n`.repeat(n + 1)));
  const { xz: stream } = await stitched(segments);
  expect(runTool("xz", ["-dc"], stream, "xz-utils").equals(Buffer.concat(segments))).toBe(true);
});

test("xz detects any changed byte of a joined stream", async () => {
  const { xz: stream } = await stitched([Buffer.from("one"), Buffer.from("two")]);
  for (let at = 0; at < stream.length; at++) {
    const broken = Buffer.from(stream);
    broken[at] = broken[at]! ^ 0x01;
    expect(() => runTool("xz", ["-t"], broken, "xz-utils"), `byte ${at}`).toThrow();
  }
});

test("xz detects an index without one of the blocks", async () => {
  const { xz: block } = await compressor.compress(Buffer.from("one"), signal);
  const forgetful = Buffer.concat([xzStreamHeader, block.bytes, block.bytes, xzStreamEnd([block])]);
  expect(() => runTool("xz", ["-t"], forgetful, "xz-utils")).toThrow();
});

test("gzip members are read back as one file", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anySegment, { minLength: 1, maxLength: 5 }), async (segments) => {
      const { gz } = await stitched(segments);
      runTool("gzip", ["-t"], gz);
      expect(gunzipSync(gz).equals(Buffer.concat(segments))).toBe(true);
    }),
    { numRuns: 20 },
  );
});

test("a gzip member contains no time, no file name and no operating system", async () => {
  const { gz } = await compressor.compress(Buffer.from("Package: hello\n\n"), signal);
  expect(Buffer.from(gz.subarray(0, 10)).toString("hex")).toBe("1f8b0800000000000003");
});

test("compressed bytes are the same on every machine", async () => {
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
  const lines = (count: number) => Buffer.from("Package: hello\n".repeat(count));
  const few = await compressor.compress(lines(50), signal);
  const many = await compressor.compress(lines(5000), signal);
  expect(hex(few.gz)).toMatchInlineSnapshot(
    `"1f8b08000000000000030b484cce4e4c4fb552c848cdc9c9e70a18e58e72872f1700c0486e18ee020000"`,
  );
  expect(hex(few.xz.bytes)).toMatchInlineSnapshot(
    `"0200210110000000a8708e86e002ed001a5d0028184866dbda3085fe16e55ca80ee093d5638afa9c163a466000000000c0486e18"`,
  );
  expect(hex(many.xz.bytes)).toMatchInlineSnapshot(
    `"0200210116000000742fe5a3e124f7005f5d0028184866dbda3085fe16e55ca878f95dfbb6efd648c1019d91f69ca280043d6b84069e3dac8f485c74b8526acb2823402144edd174b1b9c98788c093cba7b1d92d537dba44a14d45afd4b65595f57bf0494fc3e5be53f145f7d0d8c571000000002d2e9808"`,
  );
});

test("anything other than a stream of one block is refused", () => {
  const stream = runTool("xz", ["-c", "--check=crc32"], "text", "xz-utils");
  expect(blockOfStream(stream).uncompressedBytes).toBe(4);
  const wrong = [
    Buffer.alloc(0),
    Buffer.alloc(64),
    stream.subarray(0, stream.length - 4),
    Buffer.concat([xzStreamHeader, xzStreamEnd([])]),
    runTool("xz", ["-c", "--check=crc64"], "text", "xz-utils"),
  ];
  for (const bytes of wrong) expect(() => blockOfStream(bytes)).toThrow(XzFormError);
});

test("an aborted compression throws the reason", async () => {
  const gone = AbortSignal.abort(new Error("gone"));
  await expect(compressor.compress(Buffer.from("x"), gone)).rejects.toThrow("gone");
});

test("threads that were started in advance give the same bytes, and can be ended before they have started", async () => {
  const plain = Buffer.from("Package: hello\n\n");
  const [woken, ended] = [createCompressor({ threads: 2 }), createCompressor({ threads: 2 })];
  woken.wake();
  ended.wake();
  await ended.close();
  expect(await woken.compress(plain, signal)).toEqual(await compressor.compress(plain, signal));
  await woken.close();
});
