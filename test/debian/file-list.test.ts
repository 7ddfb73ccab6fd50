// The files of a package are listed while it is read; entries that dpkg could not unpack are flaws.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import { configurationKey } from "../../src/base/errors.ts";
import { defaultInspectLimits } from "../../src/catalog/inspection/inspect-limits.ts";
import type { DebLimits } from "../../src/debian/deb.ts";
import { readDeb } from "../../src/debian/deb.ts";
import { decodeFileList, FileListWriter } from "../../src/debian/file-list.ts";
import { Malformed } from "../../src/debian/malformed.ts";
import { blockOfStream, xzStreamEnd, xzStreamHeader } from "../../src/indices/compression/xz-stitch.ts";
import type { ArPart, TarPart } from "../support/debs.ts";
import { aDeb, compressed, inChunks, runTool, tarHeader, tarOf, withChecksum } from "../support/debs.ts";

const limits = defaultInspectLimits;

async function listOf(deb: Uint8Array, allowed: DebLimits = limits, chunkBytes?: number): Promise<readonly string[]> {
  const reading = { limits: allowed, algorithms: [], fileLists: true };
  const { fileList } = await readDeb(inChunks(deb, chunkBytes), reading);
  return decodeFileList(fileList ?? Buffer.of(), allowed);
}

async function flawOf(reading: Promise<unknown>): Promise<string> {
  try {
    await reading;
  } catch (thrown) {
    if (thrown instanceof Malformed) return `${thrown.flaw}: ${thrown.message}`;
    throw thrown;
  }
  return "none";
}

/** A .deb whose data.tar contains these bytes. */
const withData = (content: Uint8Array): Promise<Buffer> =>
  aDeb({ members: ([format, control]: readonly ArPart[]) => [format!, control!, { name: "data.tar", content }] });

const withEntries = async (entries: readonly TarPart[]): Promise<Buffer> => withData(await tarOf(entries));

test.each(["gz", "xz", "zst", "bz2", "lzma", "none"] as const)(
  "the files of a package with its data in %s are listed, in any chunking",
  async (dataCompression) => {
    const files = { "./usr/bin/b": "b".repeat(100_000), "./usr/bin/a": "a", "./etc/empty": "" };
    const deb = await aDeb({ compression: "gz", dataCompression, files });
    for (const chunkBytes of [1, 511, deb.length]) {
      expect(await listOf(deb, limits, chunkBytes)).toEqual(["etc/empty", "usr/bin/a", "usr/bin/b"]);
    }
  },
);

test("a package of dpkg-deb is listed as by apt-ftparchive: links, pipes, long names and odd bytes, no directories", async () => {
  const folder = mkdtempSync(join(tmpdir(), "file-list-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const root = join(folder, "root");
  const long = `usr/share/${"d".repeat(120)}/${"e".repeat(130)}`;
  for (const path of ["DEBIAN", "usr/bin", "empty/directory", "sp ace", long]) {
    mkdirSync(join(root, path), { recursive: true });
  }
  writeFileSync(join(root, "DEBIAN/control"), "Package: it\nVersion: 1\nArchitecture: all\nDescription: x\n");
  writeFileSync(join(root, "usr/bin/it"), "#!/bin/sh\n");
  execFileSync("ln", [join(root, "usr/bin/it"), join(root, "usr/bin/hard")]);
  symlinkSync("it", join(root, "usr/bin/soft"));
  symlinkSync("x".repeat(300), join(root, "usr/bin/far"));
  execFileSync("mkfifo", [join(root, "usr/bin/pipe")]);
  writeFileSync(join(root, "sp ace/a b"), "");
  writeFileSync(join(root, long, "f".repeat(200)), "");
  writeFileSync(Buffer.from(`${root}/usr/bin/caf\xe9`, "latin1"), "");
  writeFileSync(join(root, "usr/bin/Zoë"), "");
  mkdirSync(join(folder, "pool"));
  const file = join(folder, "pool/it.deb");
  runTool("dpkg-deb", ["--root-owner-group", "--build", root, file], "", "dpkg");
  const wanted = runTool("apt-ftparchive", ["contents", join(folder, "pool")], "", "apt-utils").toString("latin1");
  const paths = [...wanted.matchAll(/^(.*\S)\s+it$/gm)].map(([, path = ""]) => path);
  expect(paths.length).toBe(9);
  expect(await listOf(readFileSync(file))).toEqual(paths.toSorted());
});

test("a package without files has an empty list", async () => {
  expect(await listOf(await aDeb({ files: {} }))).toEqual([]);
});

test("a name that is too long for a path is omitted, so that lines stay bounded", () => {
  const list = new FileListWriter(limits);
  for (const length of [4096, 4097]) list.add("a".repeat(length));
  expect(decodeFileList(list.encode(), limits)).toEqual(["a".repeat(4096)]);
});

test("a file that is packed twice is listed once, and a name with a line break is omitted", async () => {
  const names = ["./b", "b", ".//b", "/abs", "./cr\rcr", "./blank ", "./tab\t", "./a"];
  expect(await listOf(await withEntries(names.map((name) => ({ name }))))).toEqual(["a", "abs", "b"]);
});

test("data that dpkg could not unpack is a flaw, if lists of files are requested", async () => {
  const tar = await tarOf([{ name: "./usr/bin/x", content: "x".repeat(2000) }]);
  const pax = await tarOf([{ name: "./é/x", content: "x" }]);
  const bent = Buffer.from(tar);
  bent[0]! ^= 1;
  for (const [data, flaw] of [
    [tar.subarray(0, 300), /^bad-data: .*ends inside the header/],
    [tar.subarray(0, 1000), /^bad-data: .*ends inside "\.\/usr\/bin\/x"/],
    [bent, /^bad-data: .*checksum/],
    [Buffer.from("text ".repeat(500)), /^bad-data: .*checksum/],
    [pax, /^bad-data: .*type "x"/],
  ] as const) {
    const deb = await withData(data);
    expect(await flawOf(listOf(deb))).toMatch(flaw);
    expect(await flawOf(readDeb(inChunks(deb), { limits, algorithms: [] }))).toBe("none");
  }
  const cut = await aDeb({
    members: ([a, b, c]) => [a!, b!, { ...c!, content: Buffer.from(c!.content).subarray(0, -9) }],
  });
  expect(await flawOf(listOf(cut))).toMatch(/^bad-compression/);
});

test("entries without a name, and others that dpkg refuses, are a flaw of the package", async () => {
  const named = (name: string, flag: string, link = "") =>
    withChecksum(Buffer.concat([Buffer.from(name.padEnd(100, "\0")), Buffer.alloc(412)]), (header) => {
      header.write("00000000000\0", 124);
      header.write(flag, 156);
      header.write(link, 157);
    });
  const long = (name: string, flag: string) => {
    const text = Buffer.from(name.padEnd(512, "\0"));
    return Buffer.concat([withChecksum(tarHeader("././@LongLink", 512), (header) => header.write(flag, 156)), text]);
  };
  for (const [entry, flaw] of [
    [named("", "0"), /with the name "", which names no file/],
    [named("", "5"), /names no file/],
    [named("", "2", "y"), /names no file/],
    [Buffer.concat([long("", "L"), named("./x", "0")]), /names no file/],
    [named(".", "0"), /names no file/],
    [named("./", "0"), /names no file/],
    [named("./", "2", "y"), /names no file/],
    [named("/", "5"), /with the name "\/", which names no file/],
    [named("//", "5"), /names no file/],
    [named(".//", "5"), /names no file/],
    [named("./a\nb", "0"), /a line feed in its name/],
    [named("./a", "2"), /"\.\/a" that links nothing/],
    [named("./a", "1"), /links nothing/],
    [named("./a", "7"), /of the type "7"/],
    [named(".", "5"), /^none/],
    [named("./", "5"), /^none/],
    [Buffer.concat([long("./long", "K"), named("./a", "2")]), /^none/],
    [named("./a", "2", "y"), /^none/],
  ] as const) {
    expect(await flawOf(listOf(await withData(entry)))).toMatch(flaw);
  }
});

test("the limits of lists and data are enforced", async () => {
  const deb = await aDeb({ files: { "./a": "x".repeat(5000), "./b": "" } });
  for (const [limit, allowed] of [
    ["maxDataEntries", 1],
    ["maxFileListEntries", 1],
    ["maxFileListBytes", 3],
    ["maxDataBytes", 4000],
  ] as const) {
    const message = await flawOf(listOf(deb, { ...limits, [limit]: allowed }));
    expect(message).toContain(` ${configurationKey(limit)} = ${allowed}`);
  }
});

test("directories and long names count as entries, because reading them takes as long", async () => {
  const directories = await withEntries(["a/", "b/", "c/"].map((name) => ({ name, type: "directory" })));
  expect(await listOf(directories, { ...limits, maxDataEntries: 3 })).toEqual([]);
  expect(await flawOf(listOf(directories, { ...limits, maxDataEntries: 2 }))).toMatch(/^limit: .*max_data_entries = 2/);
  const longName = await tarOf([{ name: "././@LongLink", content: "usr/x\0" }]);
  withChecksum(longName.subarray(0, 512), (header) => header.write("L", 156));
  const many = await withData(Buffer.concat(Array.from({ length: 5 }, () => longName.subarray(0, 1024))));
  expect(await flawOf(listOf(many))).toBe("none");
  expect(await flawOf(listOf(many, { ...limits, maxDataEntries: 4 }))).toMatch(/^limit: .*max_data_entries = 4/);
});

test("a small package that would unpack to gigabytes is refused early", async () => {
  const zeros = await compressed("xz", Buffer.alloc(2 ** 24));
  const header = tarHeader("./usr/zeros", 20_000_000_000);
  // One stream of many blocks, because dpkg does not read a second stream.
  const blocks = [
    blockOfStream(await compressed("xz", header)),
    ...Array.from({ length: 80 }, () => blockOfStream(zeros)),
  ];
  const bytes = Buffer.concat([xzStreamHeader, ...blocks.map((block) => block.bytes), xzStreamEnd(blocks)]);
  const bomb = await aDeb({ members: ([a, b]) => [a!, b!, { name: "data.tar.xz", content: bytes }] });
  expect(bomb.length).toBeLessThan(1_000_000);
  expect(await flawOf(listOf(bomb))).toMatch(/^limit: .*max_data_ratio = 256/);
});

const aList = fc.uniqueArray(fc.stringMatching(/^[!-.0-~][ -.0-~/]{0,20}[!-.0-~]$/), { maxLength: 50 });

test("a decoded list is sorted, and the compact form does not depend on the order of writing", () => {
  fc.assert(
    fc.property(aList, (paths) => {
      const [forth, back] = [new FileListWriter(limits), new FileListWriter(limits)];
      for (const path of paths) forth.add(path);
      for (const path of paths.toReversed()) back.add(path);
      expect(decodeFileList(forth.encode(), limits)).toEqual(paths.toSorted());
      expect(back.encode()).toEqual(forth.encode());
    }),
  );
});

test.each([
  ["no gzip file", Buffer.from("usr/bin/x\n")],
  ["a gzip file that ends early", gzipSync("usr/bin/x\n").subarray(0, -3)],
  ["a last line without an end", gzipSync("usr/bin/x")],
  ["lines in another order", gzipSync("b\na\n")],
  ["a line twice", gzipSync("a\na\n")],
  ["an empty line", gzipSync("\na\n")],
  ["an absolute path", gzipSync("/a\n")],
  ["a directory", gzipSync("a/\n")],
  ["a carriage return", gzipSync("a\rb\n")],
  ["a blank at the end of a path", gzipSync("a \n")],
  ["a path longer than any that can be unpacked", gzipSync(`${"a".repeat(4097)}\n`)],
])("a list that is %s is refused", (_what, bytes) => {
  expect(() => decodeFileList(bytes, limits)).toThrow(Malformed);
});

test("a list beyond the limits is refused, before it is unpacked", () => {
  const bomb = gzipSync(Buffer.alloc(50_000_000, "a"));
  expect(() => decodeFileList(bomb, { ...limits, maxFileListBytes: 1_000_000 })).toThrow(
    "max_file_list_bytes = 1000000",
  );
  expect(() => decodeFileList(gzipSync("a\nb\n"), { ...limits, maxFileListEntries: 1 })).toThrow(
    "max_file_list_entries",
  );
});

test("random bytes are a list or a flaw", () => {
  const valid = gzipSync("a\nb\n");
  fc.assert(
    fc.property(fc.integer({ min: 0, max: valid.length * 8 - 1 }), (at) => {
      const flipped = Buffer.from(valid);
      flipped[at >> 3]! ^= 1 << (at & 7);
      try {
        expect(decodeFileList(flipped, limits)).toEqual(gunzipSync(flipped).toString("latin1").trimEnd().split("\n"));
      } catch (thrown) {
        expect(thrown).toBeInstanceOf(Malformed);
      }
    }),
  );
});
