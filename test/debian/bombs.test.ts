// The unpacked size of a package is limited by its uploaded size, in every compression of control.tar and data.tar.
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { defaultInspectLimits } from "../../src/catalog/inspection/inspect-limits.ts";
import type { DebLimits } from "../../src/debian/deb.ts";
import { readDeb } from "../../src/debian/deb.ts";
import type { Compression } from "../../src/debian/decompress.ts";
import { Malformed } from "../../src/debian/malformed.ts";
import type { ArPart } from "../support/debs.ts";
import { aDeb, compressed, inChunks } from "../support/debs.ts";

const mebibyte = 2 ** 20;
const { anyRatioBytes, maxDataRatio } = defaultInspectLimits;
const compressions = ["gz", "xz", "zst", "bz2", "lzma"] as const;

async function verdictOf(
  content: Buffer | AsyncIterable<Uint8Array>,
  limits: DebLimits = defaultInspectLimits,
): Promise<string> {
  try {
    await readDeb(content, { limits, algorithms: [], fileLists: true });
  } catch (thrown) {
    if (thrown instanceof Malformed) return `${thrown.flaw}: ${thrown.message}`;
    throw thrown;
  }
  return "sound";
}

/** A package with this data.tar, in one compression. */
const withData = (compression: Compression, bytes: Uint8Array): Promise<Buffer> =>
  aDeb({ members: ([format, control]) => [format!, control!, { name: `data.tar.${compression}`, content: bytes }] });

const tarOfZeros = (sizeBytes: number): Promise<Buffer> =>
  aDeb({ compression: "none", files: { "./usr/zeros": Buffer.alloc(sizeBytes) } }).then((deb) =>
    deb.subarray(deb.lastIndexOf("data.tar") + 60),
  );

test.each(compressions)(
  "data.tar.%s that becomes more than the ratio allows is refused, and the limit is named",
  async (format) => {
    const bombBytes = 2 * anyRatioBytes;
    const bomb = await withData(format, await compressed(format, await tarOfZeros(bombBytes)));
    expect(bomb.length).toBeLessThan(bombBytes / maxDataRatio);
    const refused = `limit: the decompressed size of a member is beyond max_data_ratio = ${maxDataRatio}`;
    expect(await verdictOf(bomb)).toBe(refused);
    expect(await verdictOf(inChunks(bomb, 10_000))).toBe(refused);
  },
);

test.each(compressions)("data.tar.%s of a few bytes may unpack to some mebibytes", async (format) => {
  const small = await withData(format, await compressed(format, await tarOfZeros(anyRatioBytes - mebibyte)));
  expect(await verdictOf(small)).toBe("sound");
});

test("data.tar beyond max_data_bytes is refused with that key in the message, whatever the ratio allows", async () => {
  const deb = await withData("gz", await compressed("gz", await tarOfZeros(8 * mebibyte)));
  expect(await verdictOf(deb, { ...defaultInspectLimits, maxDataBytes: mebibyte })).toMatch(
    /max_data_bytes = 1048576$/,
  );
});

test.each(["gz", "xz", "zst"] as const)("control.tar.%s has the same limits", async (format) => {
  const deb = await aDeb({
    compression: format,
    controlEntries: [{ name: "./md5sums", content: Buffer.alloc(2 * anyRatioBytes) }],
  });
  expect(await verdictOf(deb)).toMatch(/^limit: .*max_data_ratio = 256$/);
  expect(await verdictOf(deb, { ...defaultInspectLimits, maxDecompressedBytes: mebibyte })).toMatch(
    /max_decompressed_bytes = 1048576$/,
  );
  expect(await verdictOf(deb, { ...defaultInspectLimits, anyRatioBytes: 4 * anyRatioBytes })).toBe("sound");
});

/** An archive with a header that promises more bytes than follow. */
function withPromise(deb: Buffer, member: string, promisedBytes: number): Buffer {
  const lying = Buffer.from(deb);
  lying.write(String(promisedBytes).padEnd(10), lying.lastIndexOf(member) + 48, "latin1");
  return lying;
}

test("a header that promises more bytes than follow does not raise the limit", async () => {
  const member: ArPart = { name: "data.tar.gz", content: await compressed("gz", await tarOfZeros(80 * mebibyte)) };
  const bomb = await aDeb({ members: ([format, control]) => [format!, control!, member] });
  const lying = withPromise(bomb, "data.tar.gz", 9_999_999_999);
  const slowly = async function* () {
    yield lying;
    // Neither more bytes nor the end follow.
    for (let wait = 0; wait < 1000; wait++) {
      await sleep(10);
      yield new Uint8Array(0);
    }
  };
  expect(await verdictOf(lying)).toMatch(/^limit: .*max_data_ratio = 256$/);
  expect(await verdictOf(slowly())).toMatch(/^limit: .*max_data_ratio = 256$/);
});
