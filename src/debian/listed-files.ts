// The lists of files in a .dsc, a .changes or a .buildinfo: each file with its size and digests.
import { isEntryName } from "../base/names.ts";
import type { StanzaLimits, TextLimits } from "./deb822.ts";
import type { DigestAlgorithm } from "./digests.ts";
import { limitFlaw, Malformed, quoted } from "./malformed.ts";
import type { Stanza } from "./stanza.ts";
import { fieldOf } from "./stanza.ts";

export interface ListedFilesLimits extends StanzaLimits {
  /** How many files one list may name. */
  readonly maxSourceParts: number;
  /** The longest stanza of a source package, a .changes or a .buildinfo, in bytes. */
  readonly maxSourceStanzaBytes: number;
}

/** The limits of a stanza with lists of files, which is longer than that of a binary package. */
export const listingStanzaLimits = ({ maxSourceStanzaBytes, ...limits }: ListedFilesLimits): TextLimits => ({
  ...limits,
  maxStanzaBytes: maxSourceStanzaBytes,
  stanzaLimit: "maxSourceStanzaBytes",
});

/** A file in a list. */
export interface ListedFile {
  readonly name: string;
  readonly sizeBytes: number;
  /** The digests in the lists, in lower-case hex; at least one algorithm. */
  readonly digests: { readonly [Algorithm in DigestAlgorithm]?: string };
}

/** How the lists of .dsc, .changes and .buildinfo files differ. */
export interface ListForm {
  /** How many words are between size and name in `Files`: none, or section and priority. */
  readonly wordsBeforeNameInFiles: 0 | 2;
  /** Whether a file of this name may be listed. */
  readonly mayList: (name: string) => boolean;
}

/** Each list with its digest algorithm and the length of a digest in hex digits. */
const lists = [
  { field: "Files", algorithm: "md5", digits: 32 },
  { field: "Checksums-Md5", algorithm: "md5", digits: 32 },
  { field: "Checksums-Sha1", algorithm: "sha1", digits: 40 },
  { field: "Checksums-Sha256", algorithm: "sha256", digits: 64 },
  { field: "Checksums-Sha512", algorithm: "sha512", digits: 128 },
] as const;

/**
 * Reads all lists. They must name the same files with the same sizes, because clients differ in which list they read.
 * @returns the files in the order of the first list
 * @throws Malformed
 * @see Debian Policy 5.6.21, 5.6.24
 */
export function readFileLists(stanza: Stanza, form: ListForm, limits: ListedFilesLimits): readonly ListedFile[] {
  let files: ReadonlyMap<string, ListedFile> | undefined;
  for (const { field, algorithm, digits } of lists) {
    const value = fieldOf(stanza, field);
    if (value === undefined) continue;
    const list = readList(field, value, digits, form, limits);
    if (files !== undefined && files.size !== list.size) throw disagree(field);
    const merged = new Map<string, ListedFile>();
    for (const [name, { sizeBytes, digest }] of list) {
      const before: ListedFile | undefined = files?.get(name);
      if (files !== undefined && before?.sizeBytes !== sizeBytes) throw disagree(field);
      if ((before?.digests[algorithm] ?? digest) !== digest) throw disagree(field);
      merged.set(name, { name, sizeBytes, digests: { ...before?.digests, [algorithm]: digest } });
    }
    files = merged;
  }
  if (files === undefined) throw new Malformed("bad-dsc", "it has neither Files nor Checksums");
  return [...files.values()];
}

function readList(
  field: string,
  value: string,
  digits: number,
  { wordsBeforeNameInFiles, mayList }: ListForm,
  limits: ListedFilesLimits,
): ReadonlyMap<string, { readonly sizeBytes: number; readonly digest: string }> {
  const list = new Map<string, { sizeBytes: number; digest: string }>();
  const lines = value.split("\n").filter((line) => line !== "");
  if (lines.length === 0) throw new Malformed("bad-dsc", `its ${field} names no file`);
  if (lines.length > limits.maxSourceParts) {
    throw limitFlaw("maxSourceParts", limits.maxSourceParts, `the number of files in ${field}`);
  }
  const wordCount = 3 + (field === "Files" ? wordsBeforeNameInFiles : 0);
  for (const line of lines) {
    const words = line.trim().split(/[ \t]+/);
    const [digest, size] = words;
    const name = words.at(-1);
    if (words.length !== wordCount || digest === undefined || size === undefined || name === undefined) {
      throw new Malformed("bad-dsc", `its ${field} has the line ${quoted(line)}`);
    }
    if (!/^[0-9a-f]+$/i.test(digest) || digest.length !== digits) {
      throw new Malformed("bad-dsc", `its ${field} has ${quoted(digest)} for a digest`);
    }
    const sizeBytes = Number(size);
    if (!/^[0-9]+$/.test(size) || !Number.isSafeInteger(sizeBytes)) {
      throw new Malformed("bad-dsc", `its ${field} has ${quoted(size)} for a size`);
    }
    if (!isEntryName(name) || !mayList(name)) {
      throw new Malformed("bad-dsc", `its ${field} names ${quoted(name)}, which cannot be a part of it`);
    }
    if (list.has(name)) throw new Malformed("bad-dsc", `its ${field} names ${quoted(name)} twice`);
    list.set(name, { sizeBytes, digest: digest.toLowerCase() });
  }
  return list;
}

const disagree = (field: string) =>
  new Malformed("bad-dsc", `its ${field} names other files or sizes than its other lists`);
