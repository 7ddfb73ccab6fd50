// Renders a stanza of Sources: the fields and files of a source package.
import type { SourceInspection } from "../catalog/inspection/inspection.ts";
import type { DigestAlgorithm, Digests } from "../debian/digests.ts";
import type { Stanza } from "../debian/stanza.ts";
import { fieldOf, withFields } from "../debian/stanza.ts";
import { digestOf, writeField } from "./fields.ts";

/** A file of a source package as found in the tree. */
export interface ResolvedPart {
  readonly name: string;
  readonly sizeBytes: number;
  readonly digests: Digests;
}

const listField: Readonly<Record<DigestAlgorithm, string>> = {
  md5: "Files",
  sha1: "Checksums-Sha1",
  sha256: "Checksums-Sha256",
  sha512: "Checksums-Sha512",
};

/**
 * Fields of a .dsc that are replaced or omitted, as in apt-ftparchive. apt would read Checksums-Md5 besides Files, and
 * the .dsc itself is not listed in it.
 */
const ownedByTheIndex: ReadonlySet<string> = new Set(
  ["Source", "Package", "Directory", "Status", "Priority", "Checksums-Md5", ...Object.values(listField)].map((name) =>
    name.toLowerCase(),
  ),
);

/**
 * Renders one source package: `Package` first, then the fields of the .dsc in their order without empty ones, then
 * `Directory` and one list of files for each algorithm.
 * @param directory relative to the root of the repository; it contains all parts under their names
 * @param parts in the order of the lists: the .dsc itself first, as in apt-ftparchive
 * @param overrides fields that the operator sets
 * @returns the stanza with the empty line that ends it
 * @throws IndexError
 */
export function renderSource(
  inspection: SourceInspection,
  directory: string,
  parts: readonly ResolvedPart[],
  algorithms: readonly DigestAlgorithm[],
  overrides: Stanza = [],
): string {
  const list = (algorithm: DigestAlgorithm): string =>
    parts.map((part) => `\n ${digestOf(part.digests, algorithm, part.name)} ${part.sizeBytes} ${part.name}`).join("");
  const fields: readonly (readonly [string, string])[] = [
    ["Package", fieldOf(inspection.dsc, "Source") ?? ""],
    ...withFields(
      inspection.dsc.filter(([name, value]) => value !== "" && !ownedByTheIndex.has(name.toLowerCase())),
      overrides,
    ),
    ["Directory", directory],
    ...algorithms.map((algorithm) => [listField[algorithm], list(algorithm)] as const),
  ];
  return `${fields.map(([name, value]) => writeField(name, value)).join("")}\n`;
}
