// A .changes or .buildinfo from the tools of dpkg gives the files of a build; a malformed one gives an error with the
// reason.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { defaultInspectLimits as limits } from "../../src/catalog/inspection/inspect-limits.ts";
import { parseChanges } from "../../src/debian/changes.ts";
import { Malformed } from "../../src/debian/malformed.ts";
import { aDeb, runTool } from "../support/debs.ts";

const parse = (text: string) => parseChanges(Buffer.from(text), limits);

const md5 = "0".repeat(32);
const sha256 = "1".repeat(64);
const aChanges = (fields = "") =>
  `Format: 1.8\nSource: hello\nDistribution: sid\nFiles:\n ${md5} 5 misc optional hello_1_all.deb\n` +
  `Checksums-Sha256:\n ${sha256} 5 hello_1_all.deb\n${fields}`;

test("a .changes gives its suite, and its files with all digests", () => {
  expect(parse(aChanges())).toEqual({
    suites: ["sid"],
    files: [{ name: "hello_1_all.deb", sizeBytes: 5, digests: { md5, sha256 } }],
  });
});

test.each([
  ["a list that leaves section and priority out", aChanges().replace("misc optional ", ""), /has the line/],
  ["lists of other sizes", aChanges().replace(`${sha256} 5`, `${sha256} 6`), /other lists/],
  [
    "two digests of one kind that differ",
    aChanges(`Checksums-Md5:\n ${md5.replace("0", "f")} 5 hello_1_all.deb\n`),
    /other/,
  ],
  ["a path for a file", aChanges().replaceAll("hello_1_all.deb", "../hello_1_all.deb"), /cannot be a part/],
  ["another .changes in it", aChanges().replaceAll("hello_1_all.deb", "hello.changes"), /cannot be a part/],
  ["no list at all", "Format: 1.8\n", /neither Files nor Checksums/],
  ["text before its armour", `x: y\n-----BEGIN PGP SIGNED MESSAGE-----\n`, /armour/],
])("a .changes with %s is refused", (_what, text, why) => {
  expect(() => parse(text)).toThrow(Malformed);
  expect(() => parse(text)).toThrow(why);
});

test("the output of dpkg-genbuildinfo and dpkg-genchanges is read: every file with its digests", async () => {
  const work = mkdtempSync(join(tmpdir(), "changes-"));
  onTestFinished(() => rmSync(work, { recursive: true }));
  const source = join(work, "hello");
  mkdirSync(join(source, "debian"), { recursive: true });
  writeFileSync(
    join(source, "debian/control"),
    "Source: hello\nMaintainer: A <a@example.org>\nSection: misc\nPriority: optional\nStandards-Version: 4.7.0\n\nPackage: hello\nArchitecture: all\nDescription: it\n",
  );
  writeFileSync(
    join(source, "debian/changelog"),
    "hello (1.0) trixie; urgency=low\n\n  * It.\n\n -- A <a@example.org>  Sun, 22 Nov 2026 12:00:00 +0000\n",
  );
  const deb = await aDeb({ package: "hello", version: "1.0" });
  writeFileSync(join(work, "hello_1.0_all.deb"), deb);
  writeFileSync(join(source, "debian/files"), "hello_1.0_all.deb misc optional\n");
  runTool("dpkg-genchanges", ["--version"], "", "dpkg-dev");
  const run = (tool: string, ...args: readonly string[]) => execFileSync(tool, args, { cwd: source, stdio: "pipe" });
  run("dpkg-genbuildinfo", "--build=binary", "-O../hello_1.0.buildinfo");
  run("dpkg-genchanges", "--build=binary", "-O../hello_1.0.changes");

  const digests = Object.fromEntries(
    ["md5", "sha1", "sha256"].map((algorithm) => [algorithm, createHash(algorithm).update(deb).digest("hex")]),
  );
  const listed = { name: "hello_1.0_all.deb", sizeBytes: deb.length, digests };
  const read = (name: string) => parseChanges(readFileSync(join(work, name)), limits);
  expect(read("hello_1.0.changes")).toMatchObject({ suites: ["trixie"], files: expect.arrayContaining([listed]) });
  expect(read("hello_1.0.buildinfo")).toEqual({ suites: [], files: [listed] });
});
