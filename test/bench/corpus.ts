// Synthetic packages with realistic control fields, made without a process per package. Equal sizes give equal bytes.
import { existsSync, mkdirSync, renameSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { aDeb } from "../support/debs.ts";

const sections = ["utils", "libs", "devel", "python", "net", "admin", "doc", "science"];
const words =
  "fast small library tool network archive parser index server client daemon common data runtime headers".split(" ");
const firstLinkSeconds = 1_600_000_000;

/** A package whose fields vary as those of an archive do: names, dependencies and descriptions of different lengths. */
export async function syntheticDeb(number: number, version = "1.0-1"): Promise<{ name: string; bytes: Buffer }> {
  const pick = (salt: number) => words[(number * 7919 + salt * 104_729) % words.length] ?? "";
  const name = `${pick(1)}-${pick(2)}${number}`;
  const depends = Array.from(
    { length: 2 + (number % 9) },
    (_, n) => `lib${pick(n + 3)}${(number * 31 + n) % 500} (>= ${n}.${number % 90})`,
  );
  const prose = Array.from(
    { length: 4 + (number % 7) },
    (_, line) => ` ${Array.from({ length: 9 }, (_, n) => pick(line * 9 + n)).join(" ")}`,
  );
  const fields = {
    Source: `${pick(1)}-src${number >> 2}`,
    Section: sections[number % sections.length] ?? "misc",
    Priority: "optional",
    "Installed-Size": String(20 + ((number * 37) % 40_000)),
    Maintainer: `The ${pick(4)} Maintainers <${pick(4)}@lists.example.org>`,
    Depends: `libc6 (>= 2.36), ${depends.join(", ")}`,
    Homepage: `https://example.org/${name}/`,
    Description: `${pick(5)} ${pick(6)} for ${pick(7)}\n${prose.join("\n")}`,
  };
  const files = Object.fromEntries(
    Array.from({ length: 5 + (number % 12) }, (_, n) => [
      `./usr/share/${name}/${pick(n)}-${n}.txt`,
      `${number} ${n}\n`,
    ]),
  );
  const bytes = await aDeb({ package: name, version, architecture: number % 5 === 0 ? "all" : "amd64", fields, files });
  return { name: `${name}_${version}_${number % 5 === 0 ? "all" : "amd64"}.deb`, bytes };
}

/** When the package of this number was linked, in seconds since the epoch: later ones at the end. */
export const linkedAtSeconds = (number: number): number => firstLinkSeconds + number * 60;

/** Writes one package into a directory, whole at once. */
export function placeDeb(directory: string, name: string, bytes: Uint8Array, atSeconds?: number): void {
  const target = join(directory, name);
  writeFileSync(`${target}.part`, bytes);
  if (atSeconds !== undefined) utimesSync(`${target}.part`, atSeconds, atSeconds);
  renameSync(`${target}.part`, target);
}

/** A folder of so many packages in one directory; made once, found again later. @returns the folder */
export async function folderCorpus(parent: string, count: number): Promise<string> {
  const folder = join(parent, `corpus-${count}`);
  if (existsSync(folder)) return folder;
  const directory = join(`${folder}.making`, binaryDirectory);
  rmSync(`${folder}.making`, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  for (let number = 0; number < count; number++) {
    const { name, bytes } = await syntheticDeb(number);
    placeDeb(directory, name, bytes, linkedAtSeconds(number));
  }
  renameSync(`${folder}.making`, folder);
  return folder;
}

export const binaryDirectory = "dists/sid/main/binary-amd64";
