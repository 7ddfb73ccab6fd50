// Synthetic packages with realistic control fields, made without a process per package. Equal sizes give equal bytes.
import { existsSync, mkdirSync, renameSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { aDeb } from "../support/debs.ts";

const sections = ["utils", "libs", "devel", "python", "net", "admin", "doc", "science"];
/** The words of which names and descriptions consist. */
export const words =
  "fast small library tool network archive parser index server client daemon common data runtime headers".split(" ");
const firstLinkSeconds = 1_600_000_000;

/** Makes packages by number. */
export interface Corpus {
  /** Names its folders. */
  readonly name: string;
  deb(number: number): Promise<SyntheticDeb>;
}

export interface SyntheticDeb {
  /** Of the file. */
  readonly name: string;
  readonly bytes: Buffer;
}

/** Packages of a few files each. */
export const plainCorpus: Corpus = { name: "corpus", deb: syntheticDeb };

/** A package whose fields vary as those of an archive do: names, dependencies and descriptions of different lengths. */
export async function syntheticDeb(number: number, version = "1.0-1"): Promise<SyntheticDeb> {
  const recipe = recipeOf(number, version);
  const files = Object.fromEntries(
    Array.from({ length: 5 + (number % 12) }, (_, n) => [
      `./usr/share/${recipe.package}/${pickWord(number, n)}-${n}.txt`,
      `${number} ${n}\n`,
    ]),
  );
  return { name: fileNameOf(recipe), bytes: await aDeb({ ...recipe, files }) };
}

const pickWord = (number: number, salt: number): string => words[(number * 7919 + salt * 104_729) % words.length] ?? "";

export const fileNameOf = ({ package: name, version, architecture }: ReturnType<typeof recipeOf>): string =>
  `${name}_${version}_${architecture}.deb`;

/** What stands in the control file of a package. */
export function recipeOf(number: number, version: string) {
  const pick = (salt: number) => pickWord(number, salt);
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
  return { package: name, version, architecture: number % 5 === 0 ? "all" : "amd64", fields };
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
export async function folderCorpus(parent: string, count: number, corpus = plainCorpus): Promise<string> {
  const folder = join(parent, `${corpus.name}-${count}`);
  if (existsSync(folder)) return folder;
  const directory = join(`${folder}.making`, binaryDirectory);
  rmSync(`${folder}.making`, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  for (let number = 0; number < count; number++) {
    const { name, bytes } = await corpus.deb(number);
    placeDeb(directory, name, bytes, linkedAtSeconds(number));
  }
  renameSync(`${folder}.making`, folder);
  return folder;
}

export const binaryDirectory = "dists/sid/main/binary-amd64";
