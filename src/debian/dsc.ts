// A .dsc: the stanza of a source package and the files that belong to it.
import { isEntryName } from "../base/names.ts";
import { stripClearSignature } from "./clearsigned.ts";
import { checkSourceControl } from "./control.ts";
import type { StanzaLimits } from "./deb822.ts";
import { Deb822Error, parseStanza } from "./deb822.ts";
import type { DigestAlgorithm, Digests } from "./digests.ts";
import { digesting, RunningDigests } from "./digests.ts";
import { beyondLimit, Malformed, quoted } from "./malformed.ts";
import type { Stanza } from "./stanza.ts";
import { fieldOf } from "./stanza.ts";

export interface DscLimits extends StanzaLimits {
  /** How long a .dsc may be, its armour included, in bytes. */
  readonly maxDscBytes: number;
  /** How many files a source package may have. */
  readonly maxSourceParts: number;
}

/** One file that a .dsc names. */
export interface DscPart {
  readonly name: string;
  readonly sizeBytes: number;
  /** As the .dsc gives them, lower-case hex; at least one algorithm. */
  readonly digests: { readonly [Algorithm in DigestAlgorithm]?: string };
}

/** What a .dsc tells. */
export interface Dsc {
  readonly sizeBytes: number;
  readonly digests: Digests;
  /** Without the OpenPGP armour. */
  readonly stanza: Stanza;
  /** In the order of its first list. */
  readonly parts: readonly DscPart[];
}

/** Each list with its algorithm and that algorithm's length in hex digits. */
const lists = [
  { field: "Files", algorithm: "md5", digits: 32 },
  { field: "Checksums-Sha1", algorithm: "sha1", digits: 40 },
  { field: "Checksums-Sha256", algorithm: "sha256", digits: 64 },
  { field: "Checksums-Sha512", algorithm: "sha512", digits: 128 },
] as const;

/**
 * Reads a .dsc, clear-signed or plain. The signature is not verified.
 * @throws Malformed; what `content` throws passes by
 * @see Debian Policy 5.4
 */
export async function readDsc(
  content: AsyncIterable<Uint8Array>,
  limits: DscLimits,
  algorithms: readonly DigestAlgorithm[],
): Promise<Dsc> {
  const running = new RunningDigests(algorithms);
  const chunks: Uint8Array[] = [];
  let total = 0;
  for await (const chunk of digesting(content, running)) {
    total += chunk.byteLength;
    if (total > limits.maxDscBytes) throw beyondLimit("maxDscBytes", limits.maxDscBytes, "the size of the .dsc");
    chunks.push(chunk);
  }
  return { ...running.finish(), ...parseDsc(Buffer.concat(chunks), limits) };
}

/**
 * Reads the whole text of a .dsc, armoured or not.
 * @throws Malformed
 */
export function parseDsc(raw: Buffer, limits: DscLimits): Pick<Dsc, "stanza" | "parts"> {
  const stanza = parseText(raw, limits);
  checkSourceControl(stanza);
  return { stanza, parts: readParts(stanza, limits) };
}

function parseText(raw: Buffer, limits: StanzaLimits): Stanza {
  // Latin-1 maps bytes to characters and back, so that the armour goes before the encoding is looked at.
  const text = stripClearSignature(raw.toString("latin1"));
  try {
    return parseStanza(Buffer.from(text, "latin1"), limits);
  } catch (thrown) {
    if (thrown instanceof Deb822Error) throw new Malformed("bad-dsc", thrown.message, { cause: thrown });
    throw thrown;
  }
}

/** All lists must name the same files with the same sizes: clients differ in which of them they read. */
function readParts(stanza: Stanza, limits: DscLimits): readonly DscPart[] {
  let parts: ReadonlyMap<string, DscPart> | undefined;
  for (const { field, algorithm, digits } of lists) {
    const value = fieldOf(stanza, field);
    if (value === undefined) continue;
    const list = readList(field, value, digits, limits);
    if (parts !== undefined && parts.size !== list.size) throw disagree(field);
    const merged = new Map<string, DscPart>();
    for (const [name, { sizeBytes, digest }] of list) {
      const before: DscPart | undefined = parts?.get(name);
      if (parts !== undefined && before?.sizeBytes !== sizeBytes) throw disagree(field);
      merged.set(name, { name, sizeBytes, digests: { ...before?.digests, [algorithm]: digest } });
    }
    parts = merged;
  }
  if (parts === undefined) throw new Malformed("bad-dsc", "it has neither Files nor Checksums");
  return [...parts.values()];
}

function readList(
  field: string,
  value: string,
  digits: number,
  limits: DscLimits,
): ReadonlyMap<string, { readonly sizeBytes: number; readonly digest: string }> {
  const list = new Map<string, { sizeBytes: number; digest: string }>();
  const lines = value.split("\n").filter((line) => line !== "");
  if (lines.length === 0) throw new Malformed("bad-dsc", `its ${field} names no file`);
  if (lines.length > limits.maxSourceParts) {
    throw beyondLimit("maxSourceParts", limits.maxSourceParts, `the number of files in ${field}`);
  }
  for (const line of lines) {
    const [digest, size, name, ...more] = line.trim().split(/[ \t]+/);
    if (digest === undefined || size === undefined || name === undefined || more.length > 0) {
      throw new Malformed("bad-dsc", `its ${field} has the line ${quoted(line)}`);
    }
    if (!/^[0-9a-f]+$/i.test(digest) || digest.length !== digits) {
      throw new Malformed("bad-dsc", `its ${field} has ${quoted(digest)} for a digest`);
    }
    const sizeBytes = Number(size);
    if (!/^[0-9]+$/.test(size) || !Number.isSafeInteger(sizeBytes)) {
      throw new Malformed("bad-dsc", `its ${field} has ${quoted(size)} for a size`);
    }
    if (!isEntryName(name) || name.endsWith(".dsc")) {
      throw new Malformed("bad-dsc", `its ${field} names ${quoted(name)}, which can't be a part of it`);
    }
    if (list.has(name)) throw new Malformed("bad-dsc", `its ${field} names ${quoted(name)} twice`);
    list.set(name, { sizeBytes, digest: digest.toLowerCase() });
  }
  return list;
}

const disagree = (field: string) =>
  new Malformed("bad-dsc", `its ${field} names other files or sizes than its other lists`);
