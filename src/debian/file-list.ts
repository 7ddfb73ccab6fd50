// The list of the files in a package, and its compact form. Contents indices are generated from such lists.
import { gunzipSync, gzipSync } from "node:zlib";
import { limitFlaw, Malformed } from "./malformed.ts";

export interface FileListLimits {
  /** The longest list of one package, in bytes, with a line feed after each path. */
  readonly maxFileListBytes: number;
  /** How many files one package may have. */
  readonly maxFileListEntries: number;
}

/**
 * Paths as in Contents: without a leading slash, and one character for each byte, so that the order of strings is the
 * order of bytes.
 */
export type FilePaths = readonly string[];

/** The longest path that can be unpacked, in bytes. @see PATH_MAX of Linux */
const maxPathBytes = 4096;

/** Whether a path cannot be unpacked, contains a line break, or ends with blanks, which a reader would drop. */
const isUnfit = (path: string): boolean => path.length > maxPathBytes || /[\n\r\0]|[ \t]$/.test(path);

/** Takes half the time of the default level and makes lists 7 % larger. Each package needs a list. */
const gzipLevel = 3;

/** Collects the paths of one package, in any order. Omits paths with line breaks and paths that are too long. */
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

  /** The compact form: gzip of the different paths in the order of their bytes, with a line feed after each. */
  encode(): Uint8Array {
    const sorted = this.#paths.sort();
    const lines = sorted.filter((path, index) => path !== sorted[index - 1]).map((path) => `${path}\n`);
    return gzipSync(Buffer.from(lines.join(""), "latin1"), { level: gzipLevel });
  }
}

/**
 * Reads a compact form from an untrusted source.
 * @returns the different paths in the order of their bytes
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
    throw new Malformed("bad-data", "a list of files is not a complete gzip file", { cause });
  }
}
