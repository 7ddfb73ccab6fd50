// Trailing bytes after a compressed member: we agree with dpkg in every thread, and nothing hangs or is left running.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { inspectContent } from "../../src/catalog/inspection/inspect.ts";
import { defaultInspectLimits as limits } from "../../src/catalog/inspection/inspect-limits.ts";
import { InspectorPool } from "../../src/catalog/inspection/inspector-pool.ts";
import type { Compression } from "../../src/debian/decompress.ts";
import { decompress } from "../../src/debian/decompress.ts";
import { aDeb, arOf, compressed, inChunks, tarOf } from "../support/debs.ts";

type Compressed = Exclude<Compression, "none">;
const formats: readonly Compressed[] = ["gz", "xz", "zst", "bz2", "lzma"];
const options = { limits, algorithms: ["sha256"], fileLists: true } as const;
const never = new AbortController().signal;
/** Longer than any of our buffers, and not compressible. */
const noise = createHash("shake256", { outputLength: 300_000 }).update("noise").digest();

/** A data.tar in two halves, compressed as one stream and as two. */
async function dataOf(format: Compressed) {
  const tar = await tarOf([{ name: "./usr/share/doc/it/noise", content: noise }]);
  const [first, second] = [tar.subarray(0, 150_000), tar.subarray(150_000)];
  return {
    whole: await compressed(format, tar),
    two: Buffer.concat([await compressed(format, first), await compressed(format, second)]),
    empty: await compressed(format, Buffer.of()),
  };
}

async function debWith(format: Compressed, content: Uint8Array): Promise<Buffer> {
  return await aDeb({ members: ([a, b]) => [a!, b!, { name: `data.tar.${format}`, content }] });
}

/** Whether dpkg unpacks it. */
function dpkgTakes(deb: Uint8Array): boolean {
  const folder = mkdtempSync(join(tmpdir(), "tahoe-apt-trailing-"));
  try {
    writeFileSync(join(folder, "it.deb"), deb);
    execFileSync("dpkg-deb", ["-x", join(folder, "it.deb"), join(folder, "out")], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const garbage = (length: number) => Buffer.alloc(length, "garbage behind the end! ");

test.each(formats)(
  "trailing bytes after %s data are accepted or rejected as by dpkg, in this thread and in a worker",
  async (format) => {
    const { whole, two, empty } = await dataOf(format);
    const inspector = new InspectorPool(options, 1);
    onTestFinished(() => inspector.close());
    const cases: ReadonlyArray<readonly [what: string, data: Buffer]> = [
      ["nothing", whole],
      ["some NULs", Buffer.concat([whole, Buffer.alloc(8)])],
      ["many NULs", Buffer.concat([whole, Buffer.alloc(40_000)])],
      // With zlib each program decides whether garbage is an error: it is one for Node.js, and not for dpkg.
      ...(format === "gz"
        ? []
        : ([
            ["garbage", Buffer.concat([whole, garbage(8)])],
            ["much garbage", Buffer.concat([whole, garbage(40_000)])],
          ] as const)),
      ["far too much garbage", Buffer.concat([whole, garbage(2 ** 20)])],
      ["an empty stream", Buffer.concat([whole, empty])],
      ["the other half", two],
      ["an end that is missing", whole.subarray(0, whole.length / 2)],
    ];
    for (const [what, data] of cases) {
      const deb = await debWith(format, data);
      // If one process of dpkg ends, writes of the other one fail only if it notices in time. So the verdict on long
      // trailing bytes depends on chance, whether they fit into a pipe or not.
      const verdicts = Array.from({ length: 5 }, () => dpkgTakes(deb));
      const fitsIntoAPipe = data.length <= whole.length + 2 ** 16;
      const expected = (fitsIntoAPipe ? verdicts.some(Boolean) : verdicts.every(Boolean)) ? "binary" : "rejected";
      for (const chunkBytes of [1000, 70_000, deb.length]) {
        const here = await inspectContent("binary", inChunks(deb, chunkBytes), options);
        expect(here.kind, `${what}, in chunks of ${chunkBytes}`).toBe(expected);
      }
      expect((await inspectContent("binary", deb, options)).kind, `${what}, at hand`).toBe(expected);
      const there = await inspector.inspect("binary", inChunks(deb, 70_000), never);
      expect(there.kind, `${what}, in a worker`).toBe(expected);
    }
  },
);

test("several zstd frames are rejected, as by dpkg; a skippable frame after the first does not count", async () => {
  const { whole, two } = await dataOf("zst");
  const skippable = Buffer.from("502a4d180400000061626364", "hex");
  for (const [data, isTaken] of [
    [Buffer.concat([whole, skippable]), true],
    [two, false],
  ] as const) {
    const deb = await debWith("zst", data);
    expect(dpkgTakes(deb)).toBe(isTaken);
    expect((await inspectContent("binary", deb, options)).kind).toBe(isTaken ? "binary" : "rejected");
  }
});

test.each(formats)("members after a data.tar.%s with trailing bytes are still read correctly", async (format) => {
  const { whole } = await dataOf(format);
  const members = [
    { name: `data.tar.${format}`, content: Buffer.concat([whole, Buffer.alloc(3001)]) },
    { name: "_gpgorigin", content: noise },
  ];
  const deb = await aDeb({ members: ([a, b]) => [a!, b!, ...members] });
  expect((await inspectContent("binary", inChunks(deb, 999), options)).kind).toBe("binary");
  const cut = deb.subarray(0, -3);
  expect(await inspectContent("binary", inChunks(cut, 999), options)).toMatchObject({ code: "truncated" });
  const bent = Buffer.concat([deb, arOf([{ name: "data.tar", content: "" }]).subarray(8)]);
  expect(await inspectContent("binary", inChunks(bent, 999), options)).toMatchObject({ code: "not-a-deb" });
});

/** The commands of this process's child processes. */
function children(): readonly string[] {
  return readdirSync("/proc").flatMap((pid) => {
    try {
      const [, command = "", parent] = /^\d+ \((.*)\) \S (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, "latin1")) ?? [];
      return Number(parent) === process.pid && /^(zstd|bzip2)$/.test(command) ? [command] : [];
    } catch {
      return [];
    }
  });
}

test.each(formats)("a reader of %s that stops early or fails ends at once and leaves no process", async (format) => {
  const { whole } = await dataOf(format);
  const allowed = { maxDecompressedBytes: 2 ** 30, maxDecoderBytes: 2 ** 27 };
  for (const leave of ["at once", "at the end", "content fails"] as const) {
    let closed = false;
    const content = (async function* () {
      try {
        yield* inChunks(leave === "content fails" ? whole.subarray(0, -1000) : whole, 1000);
        if (leave === "content fails") throw new Error("the grid is away");
        if (leave === "at the end") yield* inChunks(Buffer.alloc(40_000), 1000);
      } finally {
        closed = true;
      }
    })();
    let plainBytes = 0;
    const read = async () => {
      for await (const chunk of decompress(format, content, allowed, "dpkg")) {
        plainBytes += chunk.byteLength;
        if (leave === "at once" || (leave === "at the end" && plainBytes >= 300_000)) break;
      }
    };
    if (leave === "content fails") await expect(read()).rejects.toThrow("the grid is away");
    else await read();
    expect(closed, leave).toBe(true);
    await expect.poll(children, { message: leave }).toEqual([]);
  }
});
