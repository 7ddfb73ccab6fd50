// A .changes or .buildinfo: the files that one build has produced.
import { parseSignedStanza } from "./clearsigned.ts";
import type { ListedFile, ListedFilesLimits, ListForm } from "./listed-files.ts";
import { listingStanzaLimits, readFileLists } from "./listed-files.ts";
import { fieldOf } from "./stanza.ts";

/** The files of a build, and the suites that they are for. */
export interface Changes {
  readonly files: readonly ListedFile[];
  /** The suites in Distribution of a .changes; empty for a .buildinfo. */
  readonly suites: readonly string[];
}

/** Whether this is the name of a .changes or .buildinfo. */
export const listsBuiltFiles = (name: string): boolean => /\.(changes|buildinfo)$/.test(name);

const ofChanges: ListForm = { wordsBeforeNameInFiles: 2, mayList: (name) => !name.endsWith(".changes") };

/**
 * Reads a .changes or a .buildinfo, clear-signed or plain. The signature is not verified.
 * @throws Malformed
 * @see Debian Policy 5.5, deb-changes(5), deb-buildinfo(5)
 */
export function parseChanges(raw: Buffer, limits: ListedFilesLimits): Changes {
  const stanza = parseSignedStanza(raw, listingStanzaLimits(limits));
  const distribution = fieldOf(stanza, "Distribution") ?? "";
  return {
    files: readFileLists(stanza, ofChanges, limits),
    suites: distribution.split(/\s+/).filter((name) => name !== ""),
  };
}
