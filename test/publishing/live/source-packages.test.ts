// An incomplete source package is pending, and a complete one is listed with all fields of its .dsc.
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { aDsc, runTool } from "../../support/debs.ts";
import { ServedFolder, sha256 } from "../../support/served-folder.ts";

const source = "dists/sid/main/source";

/** The files of the source package `hello_2.0-1`, and the names of its two parts. */
function aSource() {
  const { dsc, files } = aDsc({ source: "hello", version: "2.0-1" });
  const [orig, debian] = [...files.keys()].filter((name) => name !== dsc) as [string, string];
  const put = (served: ServedFolder, ...names: readonly string[]) => {
    for (const name of names) served.put(`${source}/${name}`, files.get(name) ?? "");
  };
  return { dsc, files, orig, debian, put };
}

test("a source package is pending, not rejected, until all its files are uploaded, in any order", async () => {
  const waiting: number[] = [];
  const served = new ServedFolder({ observer: { pending: (_suite, sources) => void waiting.push(sources) } });
  const { dsc, files, orig, debian, put } = aSource();
  put(served, dsc);
  const both = { path: `${source}/${dsc}`, missing: [orig, debian] };
  expect(await served.ping()).toMatchObject({ rejected: [], pending: [both] });
  put(served, debian);
  expect(await served.ping(`${source}/${debian}`)).toMatchObject({ rejected: [], pending: [] });
  expect(served.repository.status()).toMatchObject({ rejected: [], pending: [{ ...both, missing: [orig] }] });
  expect(await served.text(`${source}/Sources`)).toBe("");
  put(served, orig);
  expect((await served.ping(`${source}/${orig}`)).publications).toHaveLength(1);
  expect(served.repository.status()).toMatchObject({ rejected: [], pending: [] });
  expect(waiting).toEqual([1, 1, 0]);
  const stanza = await served.text(`${source}/Sources`);
  const directory = `pool/SHA256/${sha256(files.get(dsc) as Buffer)}`;
  expect(stanza).toContain(`\nDirectory: ${directory}\n`);
  for (const [name, bytes] of files) {
    expect(stanza).toContain(`\n ${sha256(bytes)} ${bytes.length} ${name}\n`);
    expect(await served.bytes(`${directory}/${name}`)).toEqual(bytes);
  }
});

test("a source package is pending again if one of its files is removed", async () => {
  const served = new ServedFolder();
  const { files, orig, put } = aSource();
  put(served, ...files.keys());
  await served.ping();
  expect(await served.text(`${source}/Sources`)).toContain("Package: hello\n");
  served.remove(`${source}/${orig}`);
  await served.ping();
  expect(served.repository.status()).toMatchObject({ rejected: [], pending: [{ missing: [orig] }] });
  expect(await served.text(`${source}/Sources`)).toBe("");
});

test("a source package with a wrong file is rejected, also if other files are missing", async () => {
  const served = new ServedFolder();
  const { dsc, orig, put } = aSource();
  put(served, dsc);
  served.put(`${source}/${orig}`, "cut short");
  const { rejected, pending } = await served.ping();
  expect(pending).toEqual([]);
  expect(rejected).toMatchObject([{ path: `${source}/${dsc}`, code: "mismatch" }]);
});

test("a suite with only source packages is published without architectures", async () => {
  const served = new ServedFolder();
  const { files, put } = aSource();
  put(served, ...files.keys());
  const { publications, rejected } = await served.ping();
  expect(publications).toHaveLength(1);
  expect(rejected).toEqual([]);
  const release = await served.text("dists/sid/Release");
  expect(release).toContain("\nComponents: main\n");
  expect(release).toMatch(/^ [0-9a-f]{64} [0-9]+ main\/source\/Sources$/m);
  expect(release).not.toContain("binary-");
  expect(served.repository.status().suites).toMatchObject([{ architectures: [], sourcePackages: 1 }]);
});

/** Runs dpkg-scansources on a directory with one source package. @returns the fields of the stanza, by name */
function scanned(directory: string): ReadonlyMap<string, string> {
  return fieldsOf(runTool("dpkg-scansources", [directory], "", "dpkg-dev").toString());
}

/** The values of a stanza by field name, with white space unchanged. */
const fieldsOf = (stanza: string): ReadonlyMap<string, string> =>
  new Map(
    [...stanza.matchAll(/^([A-Za-z0-9-]+):((?:.*)(?:\n[ \t].*)*)/gm)].map(([, name = "", value = ""]) => [name, value]),
  );

test("a clear-signed source package of many files is listed with the same fields as by dpkg-scansources", async () => {
  const work = mkdtempSync(join(tmpdir(), "tahoe-apt-dsc-"));
  onTestFinished(() => rmSync(work, { recursive: true }));
  const parts = Object.fromEntries(
    ["orig.tar.gz", "orig.tar.gz.asc", "orig-doc.tar.xz", "orig-tests.tar.bz2", "debian.tar.xz"].map((end) => [
      `many_3.0${end.startsWith("debian") ? "-2" : ""}.${end}`,
      `the content of ${end}`,
    ]),
  );
  const { dsc, files } = aDsc({
    source: "many",
    version: "1:3.0-2",
    parts,
    fields: {
      Uploaders: "One <one@example.org>,\n Two <two@example.org>",
      Homepage: "https://example.org/?a=b#c",
      Testsuite: "autopkgtest, autopkgtest-pkg-python",
      "Testsuite-Triggers": "build-essential, python3",
      "Vcs-Git": "https://example.org/many.git -b main",
      "Build-Depends-Indep": "a [amd64] <!nocheck>",
      "Package-List": "\n many deb misc optional arch=any\n many-doc deb doc optional arch=all profile=!nodoc",
      Dgit: "0123456789abcdef debian archive/debian/3.0-2 https://example.org",
    },
  });
  const home = join(work, "gnupg");
  mkdirSync(home, { mode: 0o700 });
  const gpg = (args: readonly string[], input = ""): Buffer =>
    runTool("gpg", ["--batch", "--quiet", "--homedir", home, "--passphrase", "", ...args], input, "gnupg");
  gpg(["--quick-generate-key", "Builder <builder@example.org>", "ed25519", "sign", "never"]);
  onTestFinished(() => void spawnSync("gpgconf", ["--homedir", home, "--kill", "all"]));
  const signed = new Map(files).set(dsc, gpg(["--clear-sign"], files.get(dsc)?.toString()));

  const served = new ServedFolder();
  const plain = join(work, "plain");
  mkdirSync(plain);
  for (const [name, bytes] of signed) {
    served.put(`${source}/${name}`, bytes);
    writeFileSync(join(plain, name), bytes);
  }
  expect(await served.ping()).toMatchObject({ rejected: [], pending: [] });
  const ours = fieldsOf(await served.text(`${source}/Sources`));
  const theirs = scanned(plain);
  expect(readFileSync(join(plain, dsc), "utf8")).toContain("BEGIN PGP SIGNED MESSAGE");
  const listed = (lists: string | undefined) =>
    lists
      ?.split("\n")
      .map((line) => line.trim())
      .toSorted();
  for (const [name, value] of theirs) {
    if (name === "Directory" || name === "Checksums-Sha1") continue;
    expect([name, listed(ours.get(name))]).toEqual([name, listed(value)]);
  }
  const added = [...ours.keys()].filter((name) => !theirs.has(name));
  expect(added).toEqual([]);
});
