// Stanzas contain what apt-ftparchive writes for the same files, and no fields that an uploader could misuse.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { inspectContent, packageKindOf } from "../../src/catalog/inspection/inspect.ts";
import { defaultInspectLimits } from "../../src/catalog/inspection/inspect-limits.ts";
import type { BinaryInspection, Inspection, SourceInspection } from "../../src/catalog/inspection/inspection.ts";
import { parseStanzas } from "../../src/debian/deb822.ts";
import type { DigestAlgorithm } from "../../src/debian/digests.ts";
import { digestAlgorithms } from "../../src/debian/digests.ts";
import type { Stanza } from "../../src/debian/stanza.ts";
import { fieldOf } from "../../src/debian/stanza.ts";
import { renderPackage } from "../../src/indices/packages.ts";
import { renderSource } from "../../src/indices/sources.ts";
import { aDeb, aDsc, inChunks, runTool } from "../support/debs.ts";

const directory = mkdtempSync(join(tmpdir(), "stanzas-"));
afterAll(() => rmSync(directory, { recursive: true }));

const textLimits = { maxStanzaBytes: 10_000_000, maxFields: 1000, maxFieldNameBytes: 1000 };
const stanzasOf = (text: string | Uint8Array): readonly Stanza[] =>
  parseStanzas(Buffer.from(text as string), textLimits);

/** Names in lower case, sorted: the order of fields is ours. */
const comparable = (stanza: Stanza): readonly (readonly [string, string])[] =>
  stanza.map(([name, value]) => [name.toLowerCase(), value] as const).sort(([a], [b]) => (a < b ? -1 : 1));

async function inspected(path: string): Promise<Inspection> {
  const kind = packageKindOf(path) ?? "part";
  return await inspectContent(kind, inChunks(readFileSync(path)), {
    limits: defaultInspectLimits,
    algorithms: digestAlgorithms,
  });
}

async function binary(path: string): Promise<BinaryInspection> {
  const inspection = await inspected(path);
  if (inspection.kind !== "binary") throw new Error(`${path}: ${JSON.stringify(inspection)}`);
  return inspection;
}

async function source(path: string): Promise<SourceInspection> {
  const inspection = await inspected(path);
  if (inspection.kind !== "source") throw new Error(`${path}: ${JSON.stringify(inspection)}`);
  return inspection;
}

function place(files: { readonly [path: string]: string | Uint8Array }): string {
  const root = mkdtempSync(join(directory, "files-"));
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content);
  }
  return root;
}

function runIn(directory: string, command: string, args: readonly string[], debianPackage: string): Buffer {
  runTool(command, ["--version"], "", debianPackage);
  return execFileSync(command, args, { cwd: directory, stdio: ["ignore", "pipe", "ignore"] });
}

const ftparchive = (kind: "packages" | "sources", root: string): readonly Stanza[] =>
  stanzasOf(runIn(root, "apt-ftparchive", [kind, "pool"], "apt-utils"));

async function expectAsFtparchive(root: string): Promise<void> {
  const wanted = ftparchive("packages", root);
  expect(wanted.length).toBeGreaterThan(0);
  for (const stanza of wanted) {
    const path = fieldOf(stanza, "Filename") ?? "";
    const [ours] = stanzasOf(renderPackage(await binary(join(root, path)), path, digestAlgorithms));
    // Without Translation-en, apt-ftparchive keeps the field of the package, which breaks every command of apt 2.6.
    const expected = stanza.filter(([name]) => name.toLowerCase() !== "description-md5");
    expect(comparable(ours!), path).toEqual(comparable(expected));
  }
}

const unusual: { readonly [name: string]: string | undefined } = {
  Source: "other (1.0)",
  Priority: "optional",
  Depends: "a (>= 1),\n b | c,\n d",
  Essential: "no",
  "Installed-Size": "12",
  "X-Own": "  two  spaces",
  Conffiles: "\n /etc/x 0123",
  Description: "unusual\n with lines\n .\n   and indentation",
  Homepage: "https://example.org/?a=b#c",
  "Multi-Arch": "foreign",
  "Python-Version": "3",
  Section: "",
  "description-md5": "0123",
};

test("the stanza of a package contains what apt-ftparchive writes", async () => {
  const root = place({
    "pool/plain_1_amd64.deb": await aDeb({ package: "plain" }),
    "pool/a/unusual_1_all.deb": await aDeb({ package: "unusual", architecture: "all", fields: unusual }),
    "pool/umlaut_1_amd64.deb": await aDeb({ fields: { Maintainer: "Jürgen Müßig <jm@example.org>" } }),
    "pool/lower_1_amd64.deb": await aDeb({
      control: "package: lower\nversion: 1:1~rc1-1\narchitecture: amd64\nmaintainer: A <a@b.c>\ndescription: lower\n",
    }),
    "pool/bare_1_amd64.deb": await aDeb({ control: "Package: bare\nVersion: 1\nArchitecture: amd64\n" }),
  });
  await expectAsFtparchive(root);
});

test("the stanzas of real packages contain what apt-ftparchive writes", async () => {
  const root = mkdtempSync(join(directory, "real-"));
  mkdirSync(join(root, "pool"));
  const selected = runTool("dpkg", ["--get-selections"]).toString();
  const names = selected.split("\n").filter((line) => line.endsWith("\tinstall"));
  const wanted = names
    .filter((_, index) => index % Math.ceil(names.length / 20) === 0)
    .map((line) => line.split(/[:\t]/)[0]!);
  for (const name of wanted) repack(name, join(root, "pool"));
  expect(readdirSync(join(root, "pool")).length).toBeGreaterThan(10);
  await expectAsFtparchive(root);
});

/** A .deb of dpkg-deb with the control fields of an installed package, and no files. */
function repack(name: string, into: string): void {
  const status = runTool("dpkg-query", ["--status", name]).toString();
  const control = status.replace(/^(Status|Config-Version|Conffiles):.*\n(?: .*\n)*/gm, "");
  const root = place({ "DEBIAN/control": control });
  runTool("dpkg-deb", ["--build", "--root-owner-group", root, into], "", "dpkg");
}

test("archive fields of an uploader are replaced or omitted, in any spelling", async () => {
  const replaced = { filename: "evil", SIZE: "1", sha256: "0", MD5sum: "0" };
  const dropped = {
    Sha1: "0",
    SHA512: "0",
    "Checksum-FileSize": "3",
    "Description-MD5": "zzz",
    "MSDOS-Filename": "x",
    directory: "x",
    Files: "x",
    "Checksums-Md5": "x",
    "Checksums-Sha256": "x",
    Status: "x y z",
    "Config-Version": "3",
    "Triggers-Pending": "x",
    "Triggers-Awaited": "x",
  };
  const smuggled = { ...replaced, ...dropped };
  const root = place({ "pool/x_1_amd64.deb": await aDeb({ fields: smuggled }) });
  const inspection = await binary(join(root, "pool/x_1_amd64.deb"));
  const [rendered] = stanzasOf(renderPackage(inspection, "pool/x_1_amd64.deb", ["md5", "sha256"]));
  const bytes = readFileSync(join(root, "pool/x_1_amd64.deb"));
  const names = rendered!.map(([name]) => name.toLowerCase());
  expect(new Set(names).size).toBe(names.length);
  expect(fieldOf(rendered!, "Filename")).toBe("pool/x_1_amd64.deb");
  expect(fieldOf(rendered!, "Size")).toBe(String(bytes.length));
  expect(fieldOf(rendered!, "SHA256")).toBe(createHash("sha256").update(bytes).digest("hex"));
  expect(fieldOf(rendered!, "MD5sum")).toBe(createHash("md5").update(bytes).digest("hex"));
  for (const field of Object.keys(dropped)) expect(fieldOf(rendered!, field), field).toBeUndefined();
});

test("empty fields are omitted from both indices, and other fields remain", async () => {
  const fields = { Section: "", Provides: "", "X-Empty": "", Bugs: "https://bugs.example.org" };
  const { dsc, files } = aDsc({ fields: { ...fields, "Build-Depends": "" } });
  const root = place({
    "pool/x.deb": await aDeb({ fields }),
    ...Object.fromEntries([...files].map(([name, bytes]) => [`pool/${name}`, bytes])),
  });
  for (const text of [
    renderPackage(await binary(join(root, "pool/x.deb")), "pool/x.deb", ["sha256"]),
    await rendered(root, `pool/${dsc}`, ["md5"]),
  ]) {
    expect(text).not.toMatch(/^(Section|Provides|X-Empty|Build-Depends):/m);
    expect(text).not.toMatch(/^[^ ]+:[ \t]*$(?!\n )/m);
    expect(text).toContain("Bugs: https://bugs.example.org\n");
  }
});

test("Package is first, the fields of the archive are before Description, and an empty line ends the stanza", async () => {
  const root = place({ "pool/x.deb": await aDeb({ package: "hello", fields: { "X-Last": "y" } }) });
  const text = renderPackage(await binary(join(root, "pool/x.deb")), "pool/x.deb", ["md5", "sha256"]);
  const names = stanzasOf(text)[0]!.map(([name]) => name);
  expect(names[0]).toBe("Package");
  const at = names.indexOf("Filename");
  expect(names.slice(at)).toEqual(["Filename", "Size", "MD5sum", "SHA256", "Description", "X-Last"]);
  expect(text).toMatch(/[^\n]\n\n$/);
});

async function rendered(root: string, dsc: string, algorithms: readonly DigestAlgorithm[]): Promise<string> {
  const inspection = await source(join(root, dsc));
  const names = [dsc.slice(dsc.lastIndexOf("/") + 1), ...inspection.parts.map((part) => part.name)];
  const parts = names.map((name) => {
    const bytes = readFileSync(join(root, dirname(dsc), name));
    const hash = (algorithm: string): string => createHash(algorithm).update(bytes).digest("hex");
    const digests = { md5: hash("md5"), sha1: hash("sha1"), sha256: hash("sha256"), sha512: hash("sha512") };
    return { name, sizeBytes: bytes.length, digests };
  });
  return renderSource(inspection, dirname(dsc), parts, algorithms);
}

async function expectSourcesAsFtparchive(root: string): Promise<void> {
  const wanted = ftparchive("sources", root);
  expect(wanted.length).toBeGreaterThan(0);
  for (const stanza of wanted) {
    const [, dsc] = /(\S+\.dsc)$/m.exec(fieldOf(stanza, "Files") ?? "") ?? [];
    const [ours] = stanzasOf(await rendered(root, `${fieldOf(stanza, "Directory")}/${dsc}`, digestAlgorithms));
    expect(comparable(ours!), dsc).toEqual(comparable(stanza));
  }
}

test("the stanza of a source package contains what apt-ftparchive writes", async () => {
  const plain = aDsc({});
  const smuggling = aDsc({
    source: "smuggling",
    fields: {
      Directory: "evil",
      Section: "misc",
      Priority: "extra",
      Status: "x y z",
      "X-Own": "y",
      Homepage: "https://e.org",
    },
  });
  const weak = aDsc({ source: "weak", fields: { "Checksums-Sha1": undefined, "Checksums-Sha256": undefined } });
  const placed = [plain, smuggling, weak].flatMap(({ files }, n) =>
    [...files].map(([name, bytes]) => [`pool/${n}/${name}`, bytes] as const),
  );
  await expectSourcesAsFtparchive(place(Object.fromEntries(placed)));
});

test("a source package of dpkg-source has the stanza that apt-ftparchive writes", async () => {
  const root = place({
    "pool/hello-1.0/debian/control":
      "Source: hello\nSection: misc\nPriority: optional\nMaintainer: A <a@b.c>\nStandards-Version: 4.7.0\n" +
      "Build-Depends: debhelper-compat (= 13),\n python3\n\nPackage: hello\nArchitecture: any\nDescription: x\n long\n\n" +
      "Package: hello-doc\nArchitecture: all\nDescription: y\n",
    "pool/hello-1.0/debian/changelog":
      "hello (1.0) sid; urgency=low\n\n  * x\n\n -- A <a@b.c>  Thu, 01 Jan 2026 00:00:00 +0000\n",
    "pool/hello-1.0/debian/source/format": "3.0 (native)\n",
  });
  runIn(join(root, "pool"), "dpkg-source", ["--build", "hello-1.0"], "dpkg-dev");
  rmSync(join(root, "pool/hello-1.0"), { recursive: true });
  await expectSourcesAsFtparchive(root);
});

test("Sources has only the configured lists, which are computed if the .dsc lacks them", async () => {
  const { dsc, files } = aDsc({ fields: { "Checksums-Sha256": undefined } });
  const root = place(Object.fromEntries(files));
  const [stanza] = stanzasOf(await rendered(root, dsc, ["sha256"]));
  expect(fieldOf(stanza!, "Files")).toBeUndefined();
  expect(fieldOf(stanza!, "Checksums-Sha1")).toBeUndefined();
  expect(fieldOf(stanza!, "Checksums-Sha256")?.split("\n")).toHaveLength(files.size + 1);
});

test("a name or value that would begin another field or stanza is refused", async () => {
  const root = place({ "x.deb": await aDeb({}) });
  const inspection = await binary(join(root, "x.deb"));
  for (const forged of ["x\nFilename: y", "x\n\nPackage: y", "x\r\n\r\nPackage: y", "x\n \nPackage: y", "x\n"]) {
    expect(() => renderPackage(inspection, forged, ["sha256"])).toThrow("broken line");
    const control = [...inspection.control, ["X-Forged", forged] as const];
    expect(() => renderPackage({ ...inspection, control }, "x.deb", ["sha256"])).toThrow("X-Forged");
  }
});

test("a missing digest is an error, not an empty field", async () => {
  const root = place({ "x.deb": await aDeb({}) });
  const { digests, ...rest } = await binary(join(root, "x.deb"));
  const partial = { ...rest, digests: { sha256: digests.sha256 } };
  expect(() => renderPackage(partial, "x.deb", ["md5", "sha256"])).toThrow("no md5");
});
