// Another process than the one that fills the package cache reads it: it serves no wrong byte, and knows what it lacks.
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { NotCached } from "../../../src/publishing/resource.ts";
import { CachedPackages } from "../../../src/publishing/serve/cached-packages.ts";
import { cachedFileName, wholeReadBytes } from "../../../src/publishing/serve/package-cache.ts";
import { ContentMismatch } from "../../../src/publishing/serve/verified-stream.ts";
import { aDirectory, collect, never, Source, someBytes } from "../../support/package-source.ts";

/** A reader of a cache with a file. @param damage changes its bytes on the disk */
function aReader(sizeBytes: number, damage: (bytes: Buffer) => Buffer = (bytes) => bytes) {
  const bytes = someBytes(sizeBytes);
  const { expected } = new Source(bytes);
  const path = join(aDirectory(), "packages", cachedFileName(expected));
  mkdirSync(dirname(path));
  writeFileSync(path, damage(Buffer.from(bytes)));
  const events: string[] = [];
  const packages = new CachedPackages(dirname(path), {
    hit: (file, read) => events.push(`${file === cachedFileName(expected)} ${read}`),
    damaged: () => events.push("damaged"),
  });
  const read = async (start = 0, end = sizeBytes): Promise<Buffer> =>
    await collect(await packages.read(expected, { start, end }, never()));
  return { bytes, path, events, read };
}

const flipped = (bytes: Buffer): Buffer => {
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
  return bytes;
};

test.each([1, wholeReadBytes, wholeReadBytes + 100_000])(
  "%i cached bytes are read whole and in ranges",
  async (size) => {
    const { bytes, events, read } = aReader(size);
    expect((await read()).equals(bytes)).toBe(true);
    expect((await read(size >> 1)).equals(bytes.subarray(size >> 1))).toBe(true);
    expect(events).toEqual([`true ${size}`, `true ${size - (size >> 1)}`]);
  },
);

test.each([1000, wholeReadBytes + 1])(
  "%i bytes that are not in the cache are known to be missing before the first byte",
  async (size) => {
    const { path, events, read } = aReader(size);
    rmSync(path);
    await expect(read()).rejects.toThrow(NotCached);
    expect(events).toEqual([]);
  },
);

test("a damaged small file counts as missing, and is reported", async () => {
  for (const damage of [flipped, (bytes: Buffer) => bytes.subarray(1)]) {
    const { events, read } = aReader(1000, damage);
    await expect(read()).rejects.toThrow(NotCached);
    expect(events).toEqual(["damaged"]);
  }
});

test("a damaged large file fails before its last bytes, and is reported", async () => {
  const { events, read } = aReader(wholeReadBytes + 1, flipped);
  await expect(read()).rejects.toThrow(ContentMismatch);
  expect(events.at(-1)).toBe("damaged");
});
