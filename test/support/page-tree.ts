// A folder with packages as a repository of a company might have them, and with packages whose authors mean harm; for
// tests of pages.
import { mkdirSync, utimesSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import type { DebRecipe } from "./debs.ts";
import { aDeb, aDsc } from "./debs.ts";

/** A word that no line can hold. */
export const longWord = "incomprehensibilities".repeat(10).slice(0, 200);

/** The fields of a package whose author tries to run a script, to break the page, and to reverse its text. */
const hostileFields = {
  Maintainer: '"><script>alert(1)</script> \u202egpj.exe <javascript:alert(2)>',
  Homepage: "javascript:alert(document.domain)",
  Section: "<img src=x onerror=alert(3)>",
  Description: `<svg onload=alert(5)> \u202ereversed\u2066 ${longWord}\n <iframe src="javascript:alert(6)"></iframe>\n .\n   verbatim </pre><script>alert(7)</script>\n ${longWord}`,
};

const day = 86_400;

/** A package with its time and place. */
interface Placed extends DebRecipe {
  readonly at: string;
  readonly uploadedSeconds: number;
}

const changelogOf = (name: string, version: string): string =>
  [
    [version, "New upstream release.\n  * Handle archives of more than 4 GiB (Closes: #1034567)."],
    ["2.3.0-1", "Drop the patch for zlib, which upstream has applied."],
    ["2.2.4-1", "First package for our own machines."],
  ]
    .map(
      ([one, what]) =>
        `${name} (${one}) trixie; urgency=medium\n\n  * ${what}\n\n -- Ada Lovelace <ada@example.org>  Sun, 22 Nov 2026 12:00:00 +0000\n`,
    )
    .join("\n");

/** @param nowSeconds the newest upload is a little older */
function packagesOf(nowSeconds: number): readonly Placed[] {
  const of = (builder: string, suite = "trixie", directory = "binary-amd64", component = "main") =>
    `dists/${suite}/${component}/${directory}/${builder}`;
  const maintainer = "Ada Lovelace <ada@example.org>";
  const frostFields = {
    Source: "frost",
    Maintainer: maintainer,
    Homepage: "https://frost.example.org/",
    Section: "utils",
    Priority: "optional",
    "Installed-Size": "1834",
    Depends: "libfrost2 (>= 2.3), libc6 (>= 2.36), default-mta | mail-transport-agent",
    Recommends: "frost-doc",
    Suggests: "zstd",
    Description:
      "archiver for very large collections of files\n frost stores directories in archives that can be searched without unpacking them. It\n removes duplicates across archives, and verifies every block when it reads it.\n .\n Features:\n  * reading over HTTP with ranges,\n  * archives that grow while they are read.\n .\n This package contains the command.",
  };
  const frostFiles = (name: string, version: string): { readonly [path: string]: string | Uint8Array } => ({
    [`./usr/bin/${name}`]: "#!/bin/sh\n",
    [`./usr/share/doc/${name}/changelog.Debian.gz`]: gzipSync(changelogOf("frost", version)),
    [`./usr/share/doc/${name}/copyright`]: "GPL-3+\n",
    [`./usr/share/man/man1/${name}.1.gz`]: "x",
    "./usr/share/bash-completion/completions/frost": "x",
  });
  const many = Array.from({ length: 120 }, (_, at): Placed => {
    const number = String(at + 1).padStart(3, "0");
    return {
      at: of(at % 3 === 0 ? "ci-runner" : "grace", at % 4 === 0 ? "sid" : "trixie", "binary-all"),
      uploadedSeconds: nowSeconds - 3 * day - at * 5000,
      package: `python3-module-${number}`,
      version: `1.${at}-1`,
      fields: {
        Source: `module-${number}`,
        Section: "python",
        Maintainer: "Data Team <data@example.org>",
        Description: `Python module number ${at + 1} of the data team`,
      },
    };
  });
  return [
    ...["2.3.0-1", "2.4.1-1"].flatMap((version, at) => [
      ...["amd64", "arm64"].map((architecture) => ({
        at: of("ada", "trixie", `binary-${architecture}`),
        uploadedSeconds: nowSeconds - (at === 0 ? 20 * day : 1800),
        package: "frost",
        version,
        architecture,
        fields: frostFields,
        files: frostFiles("frost", version),
      })),
      {
        at: of("ada"),
        uploadedSeconds: nowSeconds - (at === 0 ? 20 * day : 1800),
        package: "libfrost2",
        version,
        architecture: "amd64",
        fields: {
          Source: "frost",
          Maintainer: maintainer,
          Section: "libs",
          Depends: "libc6 (>= 2.36)",
          Description: "archiver for very large collections of files – library\n The library that frost uses.",
        },
        files: frostFiles("libfrost2", version),
      },
    ]),
    {
      at: of("ada", "sid"),
      uploadedSeconds: nowSeconds - 4000,
      package: "frost",
      version: "2.5.0~rc1-1",
      architecture: "amd64",
      fields: frostFields,
      files: frostFiles("frost", "2.5.0~rc1-1"),
    },
    {
      at: of("ada", "trixie", "binary-all"),
      uploadedSeconds: nowSeconds - 1800,
      package: "frost-doc",
      version: "2.4.1-1",
      fields: { Source: "frost", Maintainer: maintainer, Section: "doc", Description: "documentation of frost" },
    },
    {
      at: of("grace"),
      uploadedSeconds: nowSeconds - 2 * day,
      package: "snowplough",
      version: "1:0.9+git20261101-2",
      architecture: "amd64",
      fields: {
        Maintainer: "Grace Hopper <grace@example.org>",
        Section: "admin",
        Depends: "frost (>= 2.3), python3, adduser",
        Provides: "mail-transport-agent",
        Description: "clears the way for backups\n It starts frost for each machine of a list, one after the other.",
      },
    },
    {
      at: of("grace", "trixie", "binary-amd64", "contrib"),
      uploadedSeconds: nowSeconds - 6 * day,
      package: "icepick",
      version: "3.1-4",
      architecture: "amd64",
      fields: { "Pre-Depends": "frost", Section: "contrib/utils", Description: "extracts single files from archives" },
    },
    {
      at: of("mallory"),
      uploadedSeconds: nowSeconds - 9 * day,
      package: "hostile",
      version: "1.0",
      architecture: "amd64",
      fields: hostileFields,
      files: { "./usr/share/<script>alert(8)<script>/it.sh": "x", [`./usr/${longWord.slice(0, 90)}`]: "x" },
    },
    {
      at: of("mallory"),
      uploadedSeconds: nowSeconds - 9 * day,
      package: "hostile-relations",
      version: "1.0",
      architecture: "amd64",
      fields: { Depends: "libfine (>= 1) | </dd><script>alert(4)</script>" },
    },
    ...many,
  ];
}

/** Files that no index lists, and a source package that lacks a file. */
const odd: Readonly<Record<string, string>> = {
  "dists/trixie/main/binary-amd64/mallory/<img src=x onerror=alert(9)>_1.0_amd64.deb": "not a package",
  "dists/trixie/main/binary-amd64/grace/broken_1.0_amd64.deb": "!<arch>\n",
  "README.txt": "Packages of the Frost project\n",
};

/** Writes the whole tree. @param stage 1: without the newest upload, so that there can be a snapshot before it */
export async function writePageTree(folder: string, nowSeconds: number, stage: 1 | 2 = 2): Promise<void> {
  const write = (path: string, bytes: Uint8Array | string, seconds: number) => {
    const target = join(folder, path);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, bytes);
    utimesSync(target, seconds, seconds);
  };
  for (const { at, uploadedSeconds, ...recipe } of packagesOf(nowSeconds)) {
    if (stage === 1 && uploadedSeconds > nowSeconds - day) continue;
    const version = recipe.version?.replace(/^\d+:/, "");
    const name = `${recipe.package}_${version}_${recipe.architecture ?? "all"}.deb`;
    write(`${at}/${name}`, await aDeb(recipe), uploadedSeconds);
  }
  for (const [path, text] of Object.entries(odd)) write(path, text, nowSeconds - 5 * day);
  const source = aDsc({
    source: "frost",
    version: "2.4.1-1",
    fields: {
      Binary: "frost, libfrost2, frost-doc",
      Maintainer: "Ada Lovelace <ada@example.org>",
      Uploaders: "Grace Hopper <grace@example.org>, Data Team <data@example.org>",
      Homepage: "https://frost.example.org/",
      "Vcs-Browser": "https://git.example.org/frost",
      "Build-Depends": "debhelper-compat (= 13), libzstd-dev, snowplough",
    },
  });
  for (const [name, bytes] of source.files) write(`dists/trixie/main/source/ada/${name}`, bytes, nowSeconds - 20 * day);
  const waiting = aDsc({ source: "waiting", version: "1.0-1" });
  write(
    "dists/trixie/main/source/grace/waiting_1.0-1.dsc",
    waiting.files.get("waiting_1.0-1.dsc") ?? "",
    nowSeconds - 5 * day,
  );
}
