// Translation-en and the short descriptions in Packages, compared with those of apt-ftparchive.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { inspectContent } from "../../src/catalog/inspection/inspect.ts";
import { defaultInspectLimits } from "../../src/catalog/inspection/inspect-limits.ts";
import type { BinaryInspection } from "../../src/catalog/inspection/inspection.ts";
import { parseStanzas } from "../../src/debian/deb822.ts";
import type { Stanza } from "../../src/debian/stanza.ts";
import { fieldOf } from "../../src/debian/stanza.ts";
import { renderPackage } from "../../src/indices/packages.ts";
import { renderTranslation } from "../../src/indices/translations.ts";
import { aDeb, inChunks, runTool } from "../support/debs.ts";

const directory = mkdtempSync(join(tmpdir(), "translations-"));
afterAll(() => rmSync(directory, { recursive: true }));
const indices = "dists/sid/main";

const textLimits = { maxStanzaBytes: 1_000_000, maxFields: 100, maxFieldNameBytes: 100 };
const stanzasIn = (text: string | Uint8Array): readonly Stanza[] =>
  parseStanzas(Buffer.from(text as string), textLimits).toSorted((a, b) =>
    (fieldOf(a, "Package") ?? "") < (fieldOf(b, "Package") ?? "") ? -1 : 1,
  );

const descriptions: readonly (string | undefined)[] = [
  "one line",
  "several lines\n of text,\n .\n   some of it äöü",
  "\n its first line is empty\n .\n and the rest is not",
  "blanks at the end\n of a line \n and of the last  ",
  "\ttabs\n\tas indentation\n .\n\t.",
];
const packages: BinaryInspection[] = [];

beforeAll(async () => {
  mkdirSync(join(directory, "pool"));
  for (const [n, description] of descriptions.entries()) {
    const deb = await aDeb({ package: `p${n}`, fields: { Description: description, "Description-Md5": "0123" } });
    writeFileSync(join(directory, `pool/p${n}_1.0-1_all.deb`), deb);
    const inspection = await inspectContent("binary", inChunks(deb), {
      limits: defaultInspectLimits,
      algorithms: ["sha256"],
    });
    if (inspection.kind !== "binary") throw new Error(JSON.stringify(inspection));
    packages.push(inspection);
  }
  for (const path of ["cache", `${indices}/binary-amd64`, `${indices}/i18n`]) {
    mkdirSync(join(directory, path), { recursive: true });
  }
  const configuration = `
    Dir { ArchiveDir "${directory}"; CacheDir "${directory}/cache"; };
    Default { Packages::Compress "."; Translation::Compress "."; };
    Tree "dists/sid" { Sections "main"; Architectures "amd64"; Directory "pool"; LongDescription "false"; };`;
  writeFileSync(join(directory, "ftparchive.conf"), configuration);
  runTool("apt-ftparchive", ["-q", "generate", join(directory, "ftparchive.conf")], "", "apt-utils");
});

test("Translation-en has the stanzas that apt-ftparchive writes", () => {
  const wanted = stanzasIn(readFileSync(join(directory, indices, "i18n/Translation-en")));
  expect(wanted).toHaveLength(descriptions.length);
  expect(stanzasIn(packages.map(({ control }) => renderTranslation(control)).join(""))).toEqual(wanted);
});

test("Packages has the short descriptions and the MD5 that apt-ftparchive writes, whatever the package contains", () => {
  const wanted = stanzasIn(readFileSync(join(directory, indices, "binary-amd64/Packages")));
  const ours = stanzasIn(packages.map((inspection) => renderPackage(inspection, "x", [], "short")).join(""));
  const described = (stanza: Stanza) => stanza.filter(([name]) => /^(Package|Description.*)$/i.test(name));
  expect(ours.map(described)).toEqual(wanted.map(described));
  expect(ours.map((stanza) => stanza.filter(([name]) => /md5/i.test(name)))).toEqual(
    ours.map((stanza) => [["Description-md5", fieldOf(stanza, "Description-md5")]]),
  );
});

test("a package without a description is in Packages, and not in Translation-en", () => {
  const [any] = packages;
  if (any === undefined) throw new Error("no package");
  for (const control of [
    [["Package", "a"]],
    [
      ["Package", "a"],
      ["Description", ""],
      ["Description-md5", "0"],
    ],
  ] as Stanza[]) {
    expect(renderTranslation(control)).toBe("");
    expect(renderPackage({ ...any, control }, "x", [], "short")).toMatch(/^Package: a\nFilename: x\nSize: \d+\n\n$/);
  }
});
