// Release: what apt requires, and values that cannot forge others.
import { expect, test } from "vitest";
import { parseStanza } from "../../src/debian/deb822.ts";
import { fieldOf } from "../../src/debian/stanza.ts";
import type { Release } from "../../src/indices/release.ts";
import { maxReleaseBytes, renderRelease } from "../../src/indices/release.ts";

const release: Release = {
  origin: "Example",
  label: "Example packages",
  suite: "stable",
  codename: "sid",
  dateSeconds: 784111777,
  architectures: ["amd64", "arm64"],
  components: ["main"],
  algorithms: ["sha256"],
  files: [
    { path: "main/binary-amd64/Packages.gz", sizeBytes: 20, digests: { sha256: "b".repeat(64) } },
    { path: "main/binary-amd64/Packages", sizeBytes: 0, digests: { sha256: "a".repeat(64) } },
  ],
};
const parsed = (changes: Partial<Release> = {}) =>
  parseStanza(Buffer.from(renderRelease({ ...release, ...changes })), {
    maxStanzaBytes: 100_000,
    maxFields: 50,
    maxFieldNameBytes: 100,
  });

test("a Release contains its identity, its date in GMT and every file with its size", () => {
  expect(Object.fromEntries(parsed({ version: "1.0", description: "A test", validUntilSeconds: 784111778 }))).toEqual({
    Origin: "Example",
    Label: "Example packages",
    Suite: "stable",
    Version: "1.0",
    Codename: "sid",
    Date: "Sun, 06 Nov 1994 08:49:37 GMT",
    "Valid-Until": "Sun, 06 Nov 1994 08:49:38 GMT",
    "Acquire-By-Hash": "yes",
    "No-Support-for-Architecture-all": "Packages",
    Architectures: "amd64 arm64",
    Components: "main",
    Description: "A test",
    SHA256: `\n ${"a".repeat(64)} 0 main/binary-amd64/Packages\n ${"b".repeat(64)} 20 main/binary-amd64/Packages.gz`,
  });
});

// debootstrap looks for exactly this line.
test("the line is exactly Acquire-By-Hash: yes", () => {
  expect(renderRelease(release)).toMatch(/^Acquire-By-Hash: yes$/m);
});

// RFC 4880 7.1: a cleartext signature does not cover it, but a detached one does.
test("no line ends in white space", () => {
  expect(renderRelease({ ...release, description: "A test \t", version: "1.0 " })).not.toMatch(/[ \t]$/m);
});

test("unknown values are omitted", () => {
  for (const field of ["Version", "Valid-Until", "Description", "MD5Sum", "SHA1", "SHA512"]) {
    expect(fieldOf(parsed(), field)).toBeUndefined();
  }
});

test("every configured algorithm has its section", () => {
  const digests = { md5: "1", sha1: "2", sha256: "3", sha512: "4" };
  const all = parsed({
    algorithms: ["sha512", "md5", "sha256", "sha1"],
    files: [{ path: "x", sizeBytes: 5, digests }],
  });
  expect(all.slice(-4)).toEqual([
    ["MD5Sum", "\n 1 5 x"],
    ["SHA1", "\n 2 5 x"],
    ["SHA256", "\n 3 5 x"],
    ["SHA512", "\n 4 5 x"],
  ]);
});

test("a value cannot forge a field", () => {
  for (const value of ["a\nSuite: b", "a\n", "a\r\nb", "a\n b"]) {
    expect(() => renderRelease({ ...release, label: value })).toThrow("Label");
    expect(() => renderRelease({ ...release, components: [value] })).toThrow("Components");
  }
  const forged = { path: "x\nSuite: b", sizeBytes: 0, digests: { sha256: "a" } };
  expect(() => renderRelease({ ...release, files: [forged] })).toThrow("broken line");
});

test("a Release that apt would refuse is an error", () => {
  expect(() => renderRelease({ ...release, algorithms: ["md5", "sha1"] })).toThrow("SHA256 or SHA512");
  expect(() => renderRelease({ ...release, algorithms: ["sha512"] })).toThrow("no sha512");
  const files = Array.from({ length: 100_000 }, (_, n) => ({
    path: `p${n}`,
    sizeBytes: 0,
    digests: { sha256: "a".repeat(64) },
  }));
  expect(renderRelease({ ...release, files }).length).toBeLessThan(maxReleaseBytes);
  expect(() => renderRelease({ ...release, files: [...files, ...files] })).toThrow("beyond");
});
