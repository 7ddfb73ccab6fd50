// One stanza of Packages: a package's control fields and where its bytes are.
import type { BinaryInspection } from "../catalog/inspection.ts";
import type { DigestAlgorithm } from "../debian/digests.ts";
import { fieldOf } from "../debian/stanza.ts";
import { digestOf, packagesDigestField, writeField } from "./fields.ts";

/**
 * Fields that speak of the archive, not of the package: the index's own values replace them, and an uploader's are never
 * copied, whatever algorithms are configured. `Status` belongs to an installed package; apt-ftparchive drops it too.
 */
const ownedByTheIndex: ReadonlySet<string> = new Set(
  ["Package", "Filename", "Size", "Status", ...Object.values(packagesDigestField)].map((name) => name.toLowerCase()),
);

/**
 * Renders one package: `Package` first, then the control fields in their own order; `Filename`, `Size` and the digests
 * stand before `Description`, or last if there is none.
 * @param filename relative to the repository's root
 * @returns the stanza and the empty line that ends it, so that stanzas are simply concatenated
 * @throws IndexError
 */
export function renderPackage(
  inspection: BinaryInspection,
  filename: string,
  algorithms: readonly DigestAlgorithm[],
): string {
  const fields = inspection.control.filter(([name]) => !ownedByTheIndex.has(name.toLowerCase()));
  const description = fields.findIndex(([name]) => name.toLowerCase() === "description");
  fields.splice(
    description === -1 ? fields.length : description,
    0,
    ["Filename", filename],
    ["Size", String(inspection.sizeBytes)],
    ...algorithms.map(
      (algorithm) => [packagesDigestField[algorithm], digestOf(inspection.digests, algorithm, filename)] as const,
    ),
  );
  const lines = fields.map(([name, value]) => writeField(name, value));
  return `${writeField("Package", fieldOf(inspection.control, "Package") ?? "")}${lines.join("")}\n`;
}
