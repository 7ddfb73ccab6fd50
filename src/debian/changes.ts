// A .changes or .buildinfo: the files that one build made.
import { parseSignedStanza } from "./clearsigned.ts";
import type { FileListLimits, ListedFile, ListForm } from "./listed-files.ts";
import { listingStanzaLimits, readFileLists } from "./listed-files.ts";
import { fieldOf } from "./stanza.ts";

/** What a build made, and what it was made for. */
export interface Changes {
  readonly files: readonly ListedFile[];
  /** The suites that a .changes names; none in a .buildinfo. */
  readonly suites: readonly string[];
}

/** Whether a name announces a file that lists what a build made. */
export const listsBuiltFiles = (name: string): boolean => /\.(changes|buildinfo)$/.test(name);

const ofChanges: ListForm = { wordsBeforeNameInFiles: 2, mayList: (name) => !name.endsWith(".changes") };

/**
 * Reads a .changes or a .buildinfo, clear-signed or plain. The signature is not verified.
 * @throws Malformed
 * @see Debian Policy 5.5, deb-changes(5), deb-buildinfo(5)
 */
export function parseChanges(raw: Buffer, limits: FileListLimits): Changes {
  const stanza = parseSignedStanza(raw, listingStanzaLimits(limits));
  const distribution = fieldOf(stanza, "Distribution") ?? "";
  return {
    files: readFileLists(stanza, ofChanges, limits),
    suites: distribution.split(/\s+/).filter((name) => name !== ""),
  };
}
