// Packages with as many files, as long paths and the same members as those of Debian, but small files. Made without a
// process per package; equal numbers give equal bytes.
import { createHash } from "node:crypto";
import lzma from "lzma-native";
import { aDeb } from "../support/debs.ts";
import type { Corpus } from "./corpus.ts";
import { fileNameOf, recipeOf } from "./corpus.ts";
import { pathsOf, randomOf } from "./lifelike-paths.ts";

const blockBytes = 512;
/** Of the field for a name in a tar header; a longer one comes in an entry of its own, as GNU tar writes it. */
const maxNameBytes = 100;
const writtenAtSeconds = 1_700_000_000;
/** Of Debian's files half have at most 4,300 bytes, a tenth at most 405 and a tenth at least 36,700; these a 32nd. */
const leastFileBytes = 12;
const mostFileBytes = 1200;
/** Of the entries that are no directories, in Debian. */
const symlinkPart = 0.15;

const typeFlags = { file: "0", symlink: "2", directory: "5", longName: "L" } as const;

export const lifelike: Corpus = {
  name: "lifelike",
  async deb(number) {
    const recipe = recipeOf(number, "1.0-1");
    const random = randomOf(~number);
    const paths = pathsOf(number, recipe.package).toSorted();
    const contents = new Map(paths.map((path) => [path, random() < symlinkPart ? undefined : textOf(random)]));
    // dpkg-deb puts links behind all other entries.
    const links = paths.filter((path) => contents.get(path) === undefined);
    const data = tar([
      ...directoriesOf(paths).map((path) => tarEntry(path, "directory")),
      ...[...contents].flatMap(([path, content]) =>
        content === undefined ? [] : tarEntry(`./${path}`, "file", content),
      ),
      ...links.map((path) => tarEntry(`./${path}`, "symlink")),
    ]);
    const dataMember = { name: "data.tar.xz", content: await xz(data) };
    const sums = [...contents].flatMap(([path, content]) =>
      content === undefined ? [] : `${createHash("md5").update(content).digest("hex")}  ${path}\n`,
    );
    const bytes = await aDeb({
      ...recipe,
      compression: "xz",
      controlEntries: [{ name: "./md5sums", content: sums.join("") }],
      members: (usual) => [...usual.slice(0, -1), dataMember],
    });
    return { name: fileNameOf(recipe), bytes };
  },
};

/** Of small words and numbers. */
function textOf(random: () => number): string {
  const sizeBytes = Math.round(leastFileBytes * (mostFileBytes / leastFileBytes) ** random());
  let text = "";
  while (text.length < sizeBytes) text += `${Math.floor(random() * 2 ** 32).toString(36)} the of `;
  return `${text.slice(0, sizeBytes - 1)}\n`;
}

/** Every directory above a file, each behind the one that it is in. */
function directoriesOf(paths: readonly string[]): readonly string[] {
  const directories = new Set(["./"]);
  for (const path of paths) {
    for (let at = path.indexOf("/"); at !== -1; at = path.indexOf("/", at + 1)) {
      directories.add(`./${path.slice(0, at + 1)}`);
    }
  }
  return [...directories].toSorted();
}

/** As GNU tar writes it, which dpkg-deb does. */
function tarEntry(path: string, kind: keyof typeof typeFlags, content = ""): Buffer {
  const octal = (value: number, digits: number) => `${value.toString(8).padStart(digits, "0")}\0`;
  const bytes = Buffer.alloc(blockBytes + Math.ceil(content.length / blockBytes) * blockBytes);
  const put = (text: string, at: number) => bytes.write(text, at, "latin1");
  put(path.slice(0, maxNameBytes), 0);
  put(octal(kind === "directory" ? 0o755 : 0o644, 7), 100);
  put(octal(0, 7), 108);
  put(octal(0, 7), 116);
  put(octal(content.length, 11), 124);
  put(octal(writtenAtSeconds, 11), 136);
  put(" ".repeat(8), 148);
  put(typeFlags[kind], 156);
  put(kind === "symlink" ? "elsewhere" : "", 157);
  put("ustar  \0", 257);
  put("root", 265);
  put("root", 297);
  let sum = 0;
  for (let at = 0; at < blockBytes; at++) sum += bytes[at] ?? 0;
  put(`${octal(sum, 6)} `, 148);
  put(content, blockBytes);
  if (path.length <= maxNameBytes || kind === "longName") return bytes;
  return Buffer.concat([tarEntry("././@LongLink", "longName", `${path}\0`), bytes]);
}

const tarRecordBytes = 20 * blockBytes;

function tar(entries: readonly Buffer[]): Buffer {
  const sizeBytes = entries.reduce((sum, { length }) => sum + length, 2 * blockBytes);
  return Buffer.concat([...entries, Buffer.alloc(2 * blockBytes + padding(sizeBytes))]);
}

const padding = (sizeBytes: number): number => Math.ceil(sizeBytes / tarRecordBytes) * tarRecordBytes - sizeBytes;

/** `xz -6`, as dpkg-deb does. */
const xz = (plain: Buffer): Promise<Buffer> =>
  new Promise((resolve) => lzma.compress(plain, { preset: 6 }, (compressed) => resolve(compressed)));
