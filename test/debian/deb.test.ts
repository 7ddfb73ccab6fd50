// A .deb is read in one pass; every flaw is reported, and nothing hangs.
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import { configurationKey } from "../../src/base/errors.ts";
import { defaultInspectLimits } from "../../src/catalog/inspection/inspect-limits.ts";
import type { Deb, DebLimits } from "../../src/debian/deb.ts";
import { readDeb } from "../../src/debian/deb.ts";
import { formatStanza } from "../../src/debian/deb822.ts";
import { Malformed } from "../../src/debian/malformed.ts";
import { fieldOf } from "../../src/debian/stanza.ts";
import { cases } from "../support/cases.ts";
import type { ArPart } from "../support/debs.ts";
import { aDeb, arOf, inChunks, runTool, tarOf } from "../support/debs.ts";

const read = (bytes: Uint8Array, limits: DebLimits = defaultInspectLimits, chunkBytes?: number): Promise<Deb> =>
  readDeb(chunkBytes === undefined ? bytes : inChunks(bytes, chunkBytes), { ...reading, limits });
const reading = { limits: defaultInspectLimits, algorithms: ["md5"], fileLists: true } as const;

/** The same bytes in memory and as a stream of chunks. */
async function flawOf(bytes: Uint8Array, limits?: DebLimits): Promise<string> {
  const outcome = await read(bytes, limits).catch((thrown: unknown) => thrown);
  expect(await read(bytes, limits, bytes.length).catch((thrown: unknown) => thrown)).toEqual(outcome);
  if (outcome instanceof Malformed) return `${outcome.flaw}: ${outcome.message}`;
  if (outcome instanceof Error) throw outcome;
  return "none";
}

const digest = (algorithm: string, bytes: Uint8Array) => createHash(algorithm).update(bytes).digest("hex");

test.each(["gz", "xz", "zst", "none"] as const)(
  "a .deb with %s members tells its control, size and digests",
  async (compression) => {
    const deb = await aDeb({ compression, version: "1:2~rc1", builtAtSeconds: 1_234_567_890 });
    for (const chunkBytes of [1, 59, deb.length]) {
      const { control, fileList: _apart, ...rest } = await read(deb, defaultInspectLimits, chunkBytes);
      expect(fieldOf(control, "Version")).toBe("1:2~rc1");
      expect(rest).toEqual({
        sizeBytes: deb.length,
        digests: { md5: digest("md5", deb), sha256: digest("sha256", deb) },
        builtAtSeconds: 1_234_567_890,
      });
    }
  },
);

test.each(["gzip", "xz", "zstd", "none"])(
  "what dpkg-deb -Z%s builds is read as dpkg-deb reads it",
  async (compression) => {
    const folder = mkdtempSync(join(tmpdir(), "deb-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const root = join(folder, "root");
    await mkdir(join(root, "DEBIAN"), { recursive: true });
    const control =
      "Package: built\nVersion: 1.2-3\nArchitecture: all\nMaintainer: José <j@example.org>\n" +
      "Depends: a (>= 1),\n b | c,\n\td\nDescription: one\n two\n .\n   three  \n";
    await writeFile(join(root, "DEBIAN/control"), control);
    await writeFile(join(root, "DEBIAN/postinst"), "#!/bin/sh\n", { mode: 0o755 });
    await writeFile(join(root, "some file"), "x".repeat(100_001));
    const file = join(folder, "built.deb");
    runTool("dpkg-deb", [`-Z${compression}`, "--root-owner-group", "--build", root, file], "", "dpkg");
    const { control: stanza, sizeBytes, digests } = await read(readFileSync(file));
    expect(formatStanza(stanza)).toBe(runTool("dpkg-deb", ["--field", file], "", "dpkg").toString());
    expect(sizeBytes).toBe(readFileSync(file).length);
    expect(digests.sha256).toBe(digest("sha256", readFileSync(file)));
  },
);

test("dpkg-deb reads the packages of the test", async () => {
  const folder = mkdtempSync(join(tmpdir(), "deb-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "own.deb");
  await writeFile(file, await aDeb({ fields: { Depends: "libc6" } }));
  expect(runTool("dpkg-deb", ["--field", file, "Depends"], "", "dpkg").toString()).toBe("libc6\n");
  expect(runTool("dpkg-deb", ["--contents", file], "", "dpkg").toString()).toContain("usr/share/doc/it/README");
});

test("packages in the cache of apt, if any, are read as by dpkg-deb", async () => {
  const cache = "/var/cache/apt/archives";
  const files = readdirSync(cache)
    .filter((name) => name.endsWith(".deb"))
    .slice(0, 20);
  for (const name of files) {
    const file = join(cache, name);
    const { control } = await read(readFileSync(file), defaultInspectLimits, 65_536);
    expect(formatStanza(control), name).toBe(runTool("dpkg-deb", ["--field", file], "", "dpkg").toString());
  }
});

test.each(["gz", "xz", "none"] as const)(
  "a .deb with %s members that ends early is told to be so, at every byte",
  async (compression) => {
    const whole = await aDeb({ compression });
    for (let end = 0; end < whole.length; end++) {
      expect(await flawOf(whole.subarray(0, end)), `${end} bytes`).toMatch(/^(truncated|bad-compression): /);
    }
    expect(await flawOf(whole)).toBe("none");
  },
);

test("any flipped bit gives a typed flaw or other digests", async () => {
  const whole = await aDeb();
  const { digests } = await read(whole);
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: whole.length * 8 - 1 }), async (at) => {
      const flipped = Buffer.from(whole);
      flipped[at >> 3]! ^= 1 << (at & 7);
      const result = await read(flipped).catch((thrown: unknown) => thrown);
      if (result instanceof Malformed) return;
      expect((result as Deb).digests.sha256).not.toBe(digests.sha256);
    }),
    { numRuns: cases(1000) },
  );
});

test("cut, doubled, swapped or random bytes give a value or a flaw, the same in memory and in chunks", async () => {
  const whole = await aDeb({ compression: "none" });
  const place = fc.integer({ min: 0, max: whole.length });
  const mangled = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.concat([Buffer.from("!<arch>\n"), bytes])),
    fc
      .tuple(place, place, fc.uint8Array({ maxLength: 100 }))
      .map(([a, b, bytes]) => Buffer.concat([whole.subarray(0, a), bytes, whole.subarray(b)])),
  );
  await fc.assert(
    fc.asyncProperty(mangled, fc.integer({ min: 1, max: 2000 }), async (bytes, chunkBytes) => {
      const result = await read(bytes, defaultInspectLimits, chunkBytes).catch((thrown: unknown) => thrown);
      if (result instanceof Error) expect(result).toBeInstanceOf(Malformed);
      expect(await read(bytes).catch((thrown: unknown) => thrown)).toEqual(result);
    }),
    { numRuns: 500 },
  );
});

const without = (name: string) => (usual: readonly ArPart[]) => usual.filter((part) => !part.name.startsWith(name));

test.each<[string, RegExp, Parameters<typeof aDeb>[0]]>([
  ["no debian-binary", /^not-a-deb: .*control\.tar/, { members: without("debian-binary") }],
  ["no control.tar", /^not-a-deb: .*data\.tar/, { members: without("control.tar") }],
  ["no data.tar", /^truncated: .*data\.tar/, { members: without("data.tar") }],
  ["its members in another order", /^not-a-deb/, { members: ([a, b, c]) => [a!, c!, b!] }],
  ["a second control.tar behind its data.tar", /^not-a-deb/, { members: (usual) => [...usual, usual[1]!] }],
  [
    "an unknown member between",
    /^not-a-deb: .*stray/,
    { members: ([a, b, c]) => [a!, { name: "stray", content: "" }, b!, c!] },
  ],
  [
    "format 3.0",
    /^not-a-deb: .*3\.0/,
    { members: ([_a, b, c]) => [{ name: "debian-binary", content: "3.0\n" }, b!, c!] },
  ],
  [
    "control.tar.bz2, which dpkg does not take",
    /^not-a-deb: .*bz2/,
    { members: ([a, b, c]) => [a!, { ...b!, name: "control.tar.bz2" }, c!] },
  ],
  [
    "gzip under the name of xz",
    /^bad-compression: .*xz/,
    { members: ([a, b, c]) => [a!, { ...b!, name: "control.tar.xz" }, c!] },
  ],
  [
    "a member with a long-name header",
    /^not-a-deb/,
    { members: (usual) => [...usual, { name: "#1/20", content: "control.tar.gz".padEnd(20) }] },
  ],
  [
    "a control that is a link",
    /^bad-control: .*symlink/,
    { controlEntries: [{ name: "control", type: "symlink", linkname: "/etc/passwd" }] },
  ],
  ["two controls", /^bad-control: .*two/, { controlEntries: [{ name: ".//control", content: "Package: other\n" }] }],
  [
    "a control with two stanzas",
    /^bad-control: .*second stanza/,
    { control: "Package: a\nVersion: 1\nArchitecture: all\n\nPackage: b\n" },
  ],
  [
    "a control with a field twice",
    /^bad-control: .*twice/,
    { control: "Package: a\nVersion: 1\nArchitecture: all\nversion: 2\n" },
  ],
  ["an empty control", /^bad-control/, { control: "" }],
  ["no Package", /^bad-control: .*Package/, { fields: { Package: undefined } }],
  ["no Version", /^bad-control: .*Version/, { fields: { Version: undefined } }],
  ["no Architecture", /^bad-control: .*Architecture/, { fields: { Architecture: undefined } }],
  ["a path for its name", /^bad-control: .*Package/, { package: "../../etc" }],
  ["a malformed version", /^bad-control: .*version/, { version: "one" }],
  ["a version of two lines", /^bad-control: .*white space/, { version: "1\n 2" }],
  ["a path for its architecture", /^bad-control: .*architecture/, { architecture: "all/.." }],
  ["a Section of two lines", /^bad-control: .*Section/, { fields: { Section: "a\n b" } }],
])("a package with %s is refused", async (_what, flaw, recipe) => {
  expect(await flawOf(await aDeb(recipe))).toMatch(flaw);
});

test("a control archive without a control is refused", async () => {
  const tar = await tarOf([{ name: "./md5sums", content: "" }]);
  const members = ([a, _b, c]: readonly ArPart[]) => [a!, { name: "control.tar", content: tar }, c!];
  expect(await flawOf(await aDeb({ members }))).toMatch(/^bad-control: .*no file named control/);
});

test("members that begin with an underscore, and all members after data.tar, are skipped", async () => {
  const spare = { name: "_gpgorigin", content: "odd" };
  const deb = await aDeb({
    members: ([a, b, c]) => [a!, spare, b!, spare, c!, spare, { name: "future", content: "" }],
  });
  expect(await flawOf(deb)).toBe("none");
});

test("member names may end with a slash, as GNU ar writes them", async () => {
  const deb = await aDeb({ members: (usual) => usual.map((part) => ({ ...part, name: `${part.name}/` })) });
  expect(await flawOf(deb)).toBe("none");
});

test.each(["garbage", "\n", "x".repeat(60), "x".repeat(10_000)])(
  "bytes behind the archive are refused: %#",
  async (garbage) => {
    expect(await flawOf(Buffer.concat([await aDeb(), Buffer.from(garbage)]))).toMatch(/^(truncated|not-a-deb): /);
  },
);

test("the message about a text file with the name of a .deb quotes its first bytes", async () => {
  expect(await flawOf(Buffer.from("This is not a package, but a text.\n"))).toMatch(/^not-a-deb: .*"This is /);
});

test("sizes and times in ar headers are numbers or the archive is refused", async () => {
  const whole = await aDeb();
  for (const [at, text] of [
    [8 + 48, "-1"],
    [8 + 48, "0x4"],
    [8 + 48, "  "],
    [8 + 16, "now         "],
    [8 + 16, ".5"],
  ] as const) {
    const bent = Buffer.from(whole);
    bent.write(text.padEnd(at === 56 ? 10 : 12), at, "latin1");
    expect(await flawOf(bent), text).toMatch(/^not-a-deb: .*number/);
  }
});

test.each(["any", "linux-any", "any-amd64", "source"])(
  "a package for %s is refused, because no machine has this architecture",
  async (architecture) => {
    expect(await flawOf(await aDeb({ architecture }))).toMatch(/^bad-control: .*which no machine has/);
  },
);

test("a time in an ar header may be blank or have a decimal point, and control files may end their lines as DOS does", async () => {
  const control = "Package: it\r\nVersion: 1.0\r\nArchitecture: all\r\nDescription: short\r\n long\r\n";
  const whole = await aDeb({ control });
  for (const [time, builtAtSeconds] of [
    ["", 0],
    ["1700000000. ", 1_700_000_000],
    ["1700000000.5", 1_700_000_000],
  ] as const) {
    const odd = Buffer.from(whole);
    odd.write(time.padEnd(12), 8 + 16, "latin1");
    const found = await readDeb(inChunks(odd), { limits: defaultInspectLimits, algorithms: [] });
    expect(found).toMatchObject({ builtAtSeconds });
    expect(formatStanza(found.control)).toBe(control.replaceAll("\r", ""));
  }
});

test.each<[keyof DebLimits, number, Parameters<typeof aDeb>[0]]>([
  ["maxArMembers", 2, {}],
  ["maxControlEntries", 1, {}],
  ["maxDecompressedBytes", 1000, {}],
  ["maxStanzaBytes", 100, {}],
  ["maxFields", 3, {}],
  ["maxFieldNameBytes", 5, {}],
  ["maxDecoderBytes", 2 ** 20, { compression: "xz" }],
])("the limit %s is enforced", async (limit, allowed, recipe) => {
  const deb = await aDeb(recipe);
  expect(await flawOf(deb)).toBe("none");
  expect(await flawOf(deb, { ...defaultInspectLimits, [limit]: allowed })).toMatch(
    new RegExp(`^limit: .* ${configurationKey(limit)} = ${allowed}`),
  );
});

test("errors of the storage pass through unchanged, wherever they happen", async () => {
  const deb = await aDeb({ compression: "xz" });
  const lost = new Error("the grid is away");
  for (let end = 0; end <= deb.length; end += 7) {
    const content = (async function* () {
      yield deb.subarray(0, end);
      throw lost;
    })();
    await expect(readDeb(content, reading)).rejects.toBe(lost);
  }
});

test("after a flaw the content is closed and not read further", async () => {
  let read = 0;
  let closed = false;
  const content = (async function* () {
    try {
      for (;;) {
        read++;
        yield Buffer.from("not a package ".repeat(1000));
      }
    } finally {
      closed = true;
    }
  })();
  await expect(readDeb(content, reading)).rejects.toThrow(Malformed);
  expect(read).toBe(1);
  expect(closed).toBe(true);
});

test("the size in the header decides where a member ends, not its content", async () => {
  // data.tar contains what looks like another member; only the size in its header tells where it ends.
  const nested = arOf([{ name: "control.tar.gz", content: "" }]).subarray(8);
  const deb = await aDeb({
    members: ([a, b]) => [a!, b!, { name: "data.tar", content: Buffer.concat([Buffer.alloc(512), nested]) }],
  });
  expect(await flawOf(deb)).toBe("none");
});
