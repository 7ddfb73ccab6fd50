// Repositories of others, read from memory: what is hostile or broken in their signed files and indices is refused.
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { indexPathsOf, readPackageIndex } from "../../src/upstream/package-index.ts";
import type { UpstreamRelease } from "../../src/upstream/release-file.ts";
import { readRelease } from "../../src/upstream/release-file.ts";
import type { RepositoryFiles } from "../../src/upstream/repository-files.ts";
import { cases } from "../support/cases.ts";

const nowMs = Date.parse("2026-11-29T12:00:00Z");
const unsignedTrust = { keys: undefined, mayBeExpired: false, mayBeOtherSuite: false };

const filesOf = (files: { readonly [path: string]: string | Uint8Array }): RepositoryFiles => ({
  address: "http://127.0.0.1",
  async open(path, maxBytes) {
    const content = files[path];
    if (content === undefined) return undefined;
    return (async function* () {
      yield Buffer.from(content as Uint8Array).subarray(0, maxBytes);
    })();
  },
});

const listed = (path: string, bytes: string | Uint8Array): string =>
  ` ${createHash("sha256").update(bytes).digest("hex")} ${Buffer.from(bytes as Uint8Array).length} ${path}\n`;

const releaseText = (list: string, fields = ""): string =>
  `Origin: Foreign\nSuite: sid\nDate: Sun, 29 Nov 2026 11:00:00 UTC\n${fields}SHA256:\n${list}`;

async function release(text: string): Promise<UpstreamRelease> {
  return await readRelease(filesOf({ "dists/sid/Release": text }), "dists/sid", unsignedTrust, nowMs);
}

const entry = { Package: "hello", Version: "1", Architecture: "amd64", Filename: "pool/h.deb", Size: "5" };
const stanzaOf = (fields: { readonly [name: string]: string }): string =>
  Object.entries({ ...entry, SHA256: "a".repeat(64), ...fields })
    .map(([name, value]) => `${name}: ${value}\n`)
    .join("");

/** Reads an index with this text. */
async function packagesIn(text: string, name = "main/binary-amd64/Packages") {
  const files = filesOf({ "dists/sid/Release": "", [`dists/sid/${name}`]: text });
  return await readPackageIndex(files, await release(releaseText(listed(name, text))), name);
}

test("a Release is read with its identity, its date and its files", async () => {
  const found = await release(releaseText(listed("main/binary-amd64/Packages.xz", "x"), "Acquire-By-Hash: yes\n"));
  expect(found).toMatchObject({ identity: { origin: "Foreign", suite: "sid", label: "" }, byHash: true });
  expect(found.dateMs).toBe(Date.parse("2026-11-29T11:00:00Z"));
  expect(indexPathsOf(found)).toEqual(["main/binary-amd64/Packages"]);
});

test.each([
  ["has no Date", "SHA256:\n", "upstream/malformed"],
  ["lists nothing with SHA256", releaseText(""), "upstream/malformed"],
  ["is no stanza", "<html>", "upstream/malformed"],
  ["is of tomorrow", releaseText(listed("a", "")).replace("29 Nov", "30 Nov"), "upstream/not-yet-valid"],
  ["has expired", releaseText(listed("a", ""), "Valid-Until: Sun, 29 Nov 2026 11:59:00 UTC\n"), "upstream/expired"],
  ["has a Valid-Until that is no date", releaseText(listed("a", ""), "Valid-Until: soon\n"), "upstream/malformed"],
  ["is longer than any", `X: ${"x".repeat(10_000_001)}\n`, "upstream/malformed"],
])("a Release that %s is refused", async (_, text, code) => {
  await expect(release(text)).rejects.toMatchObject({ code });
});

test("an index is taken in its compressed form, and its digest is checked before it is unpacked", async () => {
  const name = "main/binary-amd64/Packages";
  const packed = gzipSync(stanzaOf({}));
  const text = releaseText(listed(name, stanzaOf({})) + listed(`${name}.gz`, packed));
  const read = async (bytes: Uint8Array) =>
    await readPackageIndex(filesOf({ [`dists/sid/${name}.gz`]: bytes }), await release(text), name);
  expect(await read(packed)).toMatchObject([{ name: "hello", files: [{ path: "pool/h.deb", sizeBytes: 5 }] }]);
  await expect(read(gzipSync(stanzaOf({ Version: "2" })))).rejects.toMatchObject({ code: "upstream/mismatch" });
  await expect(read(packed.subarray(0, 20))).rejects.toMatchObject({ code: "upstream/mismatch" });
});

test("an index that unpacks to more than the Release lists is refused before it fills the memory", async () => {
  const name = "main/binary-amd64/Packages";
  const bomb = gzipSync(Buffer.alloc(2 ** 26));
  const text = releaseText(listed(name, "short") + listed(`${name}.gz`, bomb));
  const files = filesOf({ [`dists/sid/${name}.gz`]: bomb });
  const reading = readPackageIndex(files, await release(text), name);
  await expect(reading).rejects.toMatchObject({ code: "upstream/malformed", reason: /more bytes than the Release/ });
});

test("an index is requested by its hash from a server, so that it stays the one of the Release", async () => {
  const name = "main/binary-amd64/Packages";
  const text = stanzaOf({});
  const digest = createHash("sha256").update(text).digest("hex");
  const byHash = `dists/sid/main/binary-amd64/by-hash/SHA256/${digest}`;
  const newer = filesOf({ [`dists/sid/${name}`]: "of the next publication", [byHash]: text });
  const found = await release(releaseText(listed(name, text), "Acquire-By-Hash: yes\n"));
  expect(await readPackageIndex(newer, found, name)).toHaveLength(1);
  const without = await release(releaseText(listed(name, text)));
  await expect(readPackageIndex(newer, without, name)).rejects.toMatchObject({ code: "upstream/mismatch" });
});

test("an index with too many stanzas is refused, and empty lines are none", async () => {
  const name = "main/binary-amd64/Packages";
  const packed = gzipSync(Buffer.from("a\n\n".repeat(2 ** 20)), { level: 1 });
  const files = filesOf({ [`dists/sid/${name}.gz`]: packed });
  const reading = readPackageIndex(files, await release(releaseText(listed(`${name}.gz`, packed))), name);
  await expect(reading).rejects.toMatchObject({ message: /the number of packages in main\/binary-amd64\/Packages/ });
  expect(await packagesIn("\n".repeat(2 ** 20))).toEqual([]);
});

test.each([
  ["dists/sid", "Suite: sid\n"],
  ["dists/sid", "Suite: unstable\nCodename: sid\n"],
  ["dists/sid", ""],
  ["dists/buster/updates", "Suite: oldstable\nCodename: buster\n"],
  ["", "Suite: bookworm\n"],
])("a Release in %j is accepted with %j", async (directory, fields) => {
  expect(await releaseIn(directory, fields, false)).toMatchObject({ directory });
});

test.each([
  ["dists/sid", "Suite: bookworm\n"],
  ["dists/stable-security", "Suite: stable\nCodename: bookworm\n"],
  ["dists/buster/updates", "Codename: bookworm\n"],
])(
  "a Release in %j is refused with %j, the fields of another suite, unless this is accepted on request",
  async (directory, fields) => {
    await expect(releaseIn(directory, fields, false)).rejects.toMatchObject({ code: "upstream/other-suite" });
    expect(await releaseIn(directory, fields, true)).toMatchObject({ directory });
  },
);

async function releaseIn(directory: string, fields: string, mayBeOtherSuite: boolean): Promise<UpstreamRelease> {
  const text = `${fields}Date: Sun, 29 Nov 2026 11:00:00 UTC\nSHA256:\n${listed("Packages", "")}`;
  const files = filesOf({ [directory === "" ? "Release" : `${directory}/Release`]: text });
  return await readRelease(files, directory, { ...unsignedTrust, mayBeOtherSuite }, nowMs);
}

test.each([
  ["../../etc/passwd.deb"],
  ["/etc/passwd.deb"],
  ["pool/../../x.deb"],
  ["pool//x.deb"],
  ["pool/\u0001.deb"],
  ["..deb/../x.deb"],
  ["./../x.deb"],
])("the path %j is not inside the repository", async (path) => {
  expect(await packagesIn(stanzaOf({ Filename: path }))).toMatchObject([
    { files: [], flaw: expect.stringMatching(/not inside the repository/) },
  ]);
});

test.each([
  [{ Size: "-1" }, /no valid Size/],
  [{ Size: "1e9" }, /no valid Size/],
  [{ SHA256: "abc" }, /no SHA256/],
  [{ Filename: "pool/x.rpm" }, /not that of a \.deb/],
])("a package with %j cannot be fetched", async (fields, flaw) => {
  const [found] = await packagesIn(stanzaOf(fields as { readonly [name: string]: string }));
  expect(found?.flaw).toMatch(flaw);
});

test("a path with ./ at its start is the path without it, and the .dsc of a source package comes last", async () => {
  expect(await packagesIn(stanzaOf({ Filename: "./pool/h.deb" }))).toMatchObject([{ files: [{ path: "pool/h.deb" }] }]);
  const digest = "b".repeat(64);
  const text = `Package: hello\nVersion: 1\nDirectory: pool\nChecksums-Sha256:\n ${digest} 3 h.dsc\n ${digest} 4 h.tar.gz\n`;
  const [found] = await packagesIn(text, "main/source/Sources");
  expect(found?.files.map(({ path }) => path)).toEqual(["pool/h.tar.gz", "pool/h.dsc"]);
});

test("no index, whatever its text, leads to a path outside of the repository", async () => {
  const piece = fc.constantFrom("..", ".", "/", "pool", "\\", "%2e", "a.deb", "\n", " ", "Filename:", "\u0000");
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 12 }), async (pieces) => {
      for (const { files } of await packagesIn(stanzaOf({ Filename: pieces.join("") }))) {
        for (const { path } of files) {
          expect(path.split("/")).not.toContain("..");
          expect(path.startsWith("/")).toBe(false);
        }
      }
    }),
    { numRuns: cases(1000) },
  );
});
