// Reads the rows of the index of packages from a segment of Packages or Sources.
import { asBuffer } from "../../base/as-buffer.ts";
import type { StanzaLimits } from "../../debian/deb822.ts";
import { parseStanza } from "../../debian/deb822.ts";
import { descriptionOf } from "../../debian/description.ts";
import { packageNameOf } from "../../debian/package-name.ts";
import { sourceOf } from "../../debian/source-field.ts";
import type { Stanza } from "../../debian/stanza.ts";
import { fieldOf } from "../../debian/stanza.ts";
import { listedFiles } from "../../indices/named-files.ts";
import type { ListedRow } from "./package-index.ts";
import { shortened } from "./shortened.ts";

/** Wide limits, because these stanzas are from our own indices. */
const limits: StanzaLimits = { maxStanzaBytes: 2 ** 30, maxFields: 10_000, maxFieldNameBytes: 2 ** 20 };

/** The part of a row that its stanza and its segment determine. */
export type StanzaRow = Omit<ListedRow, "suite" | "component" | "uploadedMs" | "directory" | "isForInstaller">;

/** Reads the stanza at a place of a segment. */
export const stanzaAt = (
  segment: Uint8Array,
  { start, end }: { readonly start: number; readonly end: number },
): Stanza => parseStanza(segment.subarray(start, end), limits);

/** Reads all stanzas of a segment of Packages or Sources. */
export function* stanzaRows(
  id: string,
  segment: Uint8Array,
  isSource: boolean,
): Iterable<{ readonly row: StanzaRow; readonly stanza: Stanza }> {
  for (const { stanza, start, end } of stanzasIn(segment)) {
    const place = { segment: id, start, end };
    const row = isSource ? sourceRow(stanza, place) : binaryRow(stanza, place);
    if (row !== undefined) yield { row, stanza };
  }
}

function* stanzasIn(segment: Uint8Array): Iterable<{ stanza: Stanza; start: number; end: number }> {
  const bytes = asBuffer(segment);
  for (let start = 0; start < bytes.length; ) {
    const blank = bytes.indexOf("\n\n", start);
    const end = blank < 0 ? bytes.length : blank + 1;
    yield { stanza: stanzaAt(bytes, { start, end }), start, end };
    start = end + 1;
  }
}

function binaryRow(stanza: Stanza, place: ListedRow["place"]): StanzaRow {
  const source = sourceOf(stanza);
  return {
    name: packageNameOf(stanza),
    version: shortened(fieldOf(stanza, "Version") ?? ""),
    architecture: fieldOf(stanza, "Architecture") ?? "",
    isSource: false,
    source: shortened(source.name.toLowerCase()),
    sourceVersion: shortened(source.version),
    section: shortened(fieldOf(stanza, "Section") ?? ""),
    description: shortened(descriptionOf(stanza)?.short ?? ""),
    sizeBytes: Number(fieldOf(stanza, "Size") ?? 0),
    sha256: fieldOf(stanza, "SHA256") ?? "",
    path: fieldOf(stanza, "Filename") ?? "",
    place,
  };
}

/** The .dsc stands for a source package. */
function sourceRow(stanza: Stanza, place: ListedRow["place"]): StanzaRow | undefined {
  const dsc = sourceFiles(stanza).find(({ path }) => path.endsWith(".dsc"));
  if (dsc === undefined) return undefined;
  const [name, version] = [packageNameOf(stanza), shortened(fieldOf(stanza, "Version") ?? "")];
  return {
    name,
    version,
    architecture: "source",
    isSource: true,
    source: name,
    sourceVersion: version,
    section: shortened(fieldOf(stanza, "Section") ?? ""),
    description: "",
    sizeBytes: dsc.sizeBytes,
    sha256: dsc.sha256,
    path: dsc.path,
    place,
  };
}

/** A whole description, and its digest in Packages. */
export interface Translation {
  readonly md5: string;
  readonly text: string;
}

/** Reads all descriptions in a segment of Translation-en. */
export function* translationsIn(segment: Uint8Array): Iterable<Translation> {
  for (const { stanza } of stanzasIn(segment)) {
    const [md5, text] = [fieldOf(stanza, "Description-md5"), fieldOf(stanza, "Description-en")];
    if (md5 !== undefined && text !== undefined) yield { md5, text };
  }
}

/** The files of a source package, with their paths below the repository's root. */
export function sourceFiles(stanza: Stanza): readonly { path: string; sizeBytes: number; sha256: string }[] {
  const directory = fieldOf(stanza, "Directory") ?? "";
  const prefix = directory === "" || directory === "." ? "" : `${directory}/`;
  const lines = (fieldOf(stanza, "Checksums-Sha256") ?? "").replace(/^\n/, "");
  return [...listedFiles(lines)].map((file) => ({ ...file, path: `${prefix}${file.path}` }));
}
