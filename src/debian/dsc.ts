// A .dsc: the stanza of a source package and the files that belong to it.

import type { Content } from "./byte-reader.ts";
import { ByteReader } from "./byte-reader.ts";
import { parseSignedStanza } from "./clearsigned.ts";
import { checkSourceControl } from "./control.ts";
import type { DigestAlgorithm, Digests } from "./digests.ts";
import { digesting, RunningDigests } from "./digests.ts";
import type { ListedFile, ListedFilesLimits, ListForm } from "./listed-files.ts";
import { listingStanzaLimits, readFileLists } from "./listed-files.ts";
import { limitFlaw } from "./malformed.ts";
import type { Stanza } from "./stanza.ts";

export interface DscLimits extends ListedFilesLimits {
  /** The longest .dsc with its OpenPGP armour, in bytes. */
  readonly maxDscBytes: number;
}

/** The content of a .dsc. */
export interface Dsc {
  readonly sizeBytes: number;
  readonly digests: Digests;
  /** Without the OpenPGP armour. */
  readonly stanza: Stanza;
  /** In the order of its first list. */
  readonly parts: readonly ListedFile[];
}

/**
 * Reads a .dsc, clear-signed or plain. The signature is not verified.
 * @throws Malformed; errors of `content` pass through
 * @see Debian Policy 5.4
 */
export async function readDsc(
  content: Content,
  limits: DscLimits,
  algorithms: readonly DigestAlgorithm[],
): Promise<Dsc> {
  const running = new RunningDigests(algorithms);
  const reader = new ByteReader(digesting(content, running));
  const text = await reader.read(limits.maxDscBytes + 1);
  await reader.close();
  if (text.byteLength > limits.maxDscBytes) {
    throw limitFlaw("maxDscBytes", limits.maxDscBytes, "the size of the .dsc");
  }
  return { ...running.finish(), ...parseDsc(Buffer.from(text), limits) };
}

/**
 * Archives, diffs, bundles and their signatures. A web server that serves exported files would treat other names
 * specially, e.g. `.htaccess` and `index.html`.
 * @see dpkg-source(1), SOURCE PACKAGE FORMATS
 */
const partName = /^[^.].*\.(tar(\.[a-z0-9]+)?|diff\.gz|git|gitshallow)(\.(asc|sig))?$/;

const form: ListForm = { wordsBeforeNameInFiles: 0, mayList: (name) => partName.test(name) };

/**
 * Reads the text of a .dsc, with or without OpenPGP armour.
 * @throws Malformed
 */
export function parseDsc(raw: Buffer, limits: DscLimits): Pick<Dsc, "stanza" | "parts"> {
  const stanza = parseSignedStanza(raw, listingStanzaLimits(limits));
  checkSourceControl(stanza);
  return { stanza, parts: readFileLists(stanza, form, limits) };
}
