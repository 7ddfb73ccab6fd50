// The list of the files that a package unpacks, and its compact form: what Contents is made from.
import { gunzipSync, gzipSync } from "node:zlib";
import { limitFlaw, Malformed } from "./malformed.ts";

export interface FileListLimits {
  /** How long the paths of one package may be together, a line feed behind each, in bytes. */
  readonly maxFileListBytes: number;
  /** How many files one package may have. */
  readonly maxFileListEntries: number;
}

/**
 * Paths as Contents shows them: without a leading slash, one character per byte, so that comparing strings compares
 * bytes.
 */
export type FilePaths = readonly string[];

/** The longest path that can be unpacked, in bytes. @see Linux' PATH_MAX */
const maxPathBytes = 4096;

/** Whether a path can't be unpacked, breaks its line, or would be read without its last blanks. */
const isUnfit = (path: string): boolean => path.length > maxPathBytes || /[\n\r\0]|[ \t]$/.test(path);

/** Half of the time of Node's default, for 7 % more: a list is read by us alone, and each package needs one. */
const gzipLevel = 3;

/** Gathers the paths of one package, in any order. One that would break its line, or is too long, is left out. */
export class FileListWriter {
  readonly #limits: FileListLimits;
  readonly #paths: string[] = [];
  #sizeBytes = 0;

  constructor(limits: FileListLimits) {
    this.#limits = limits;
  }

  /** @throws Malformed `limit` */
  add(path: string): void {
    if (path === "" || isUnfit(path)) return;
    const { maxFileListBytes, maxFileListEntries } = this.#limits;
    this.#sizeBytes += path.length + 1;
    if (this.#sizeBytes > maxFileListBytes) {
      throw limitFlaw("maxFileListBytes", maxFileListBytes, "the length of the list of its files");
    }
    if (this.#paths.push(path) > maxFileListEntries) {
      throw limitFlaw("maxFileListEntries", maxFileListEntries, "the number of its files");
    }
  }

  /** The list in its compact form: gzip of the paths, each once, in the order of their bytes, a line feed behind each. */
  encode(): Uint8Array {
    const sorted = this.#paths.sort();
    const lines = sorted.filter((path, index) => path !== sorted[index - 1]).map((path) => `${path}\n`);
    return gzipSync(Buffer.from(lines.join(""), "latin1"), { level: gzipLevel });
  }
}

/**
 * Reads a compact form that anybody may have made.
 * @returns the paths in the order of their bytes, each once
 * @throws Malformed `bad-data` for another form or order, or `limit`
 */
export function decodeFileList(encoded: Uint8Array, limits: FileListLimits): FilePaths {
  const text = plainText(encoded, limits);
  if (text === "") return [];
  if (!text.endsWith("\n")) throw new Malformed("bad-data", "a list of files ends inside a line");
  const paths = text.slice(0, -1).split("\n");
  if (paths.length > limits.maxFileListEntries) {
    throw limitFlaw("maxFileListEntries", limits.maxFileListEntries, "the number of files in a list");
  }
  const isWrong = (path: string, index: number) =>
    path <= (paths[index - 1] ?? "") || path.startsWith("/") || path.endsWith("/") || isUnfit(path);
  if (paths.some(isWrong)) throw new Malformed("bad-data", "a list of files has lines that are no paths in order");
  return paths;
}

function plainText(encoded: Uint8Array, { maxFileListBytes }: FileListLimits): string {
  try {
    return gunzipSync(encoded, { maxOutputLength: maxFileListBytes }).toString("latin1");
  } catch (cause) {
    if (cause instanceof RangeError) {
      throw limitFlaw("maxFileListBytes", maxFileListBytes, "the length of a list of files");
    }
    throw new Malformed("bad-data", "a list of files is no whole gzip file", { cause });
  }
}
