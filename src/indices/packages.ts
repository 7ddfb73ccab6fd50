// One stanza of Packages: a package's control fields and where its bytes are.
import type { BinaryInspection } from "../catalog/inspection/inspection.ts";
import type { DigestAlgorithm } from "../debian/digests.ts";
import type { Stanza } from "../debian/stanza.ts";
import { fieldOf, withFields } from "../debian/stanza.ts";
import { digestOf, packagesDigestField, writeField } from "./fields.ts";
import { withShortDescription } from "./translations.ts";

/**
 * Fields that a package has no say in, whatever algorithms are configured.
 *
 * The index's own values replace these: Package, Filename, Size and all digests. Checksum-FileSize is one more digest to
 * apt, and another size than Size fails every download. apt finds the translated description by Description-md5, and apt
 * 2.6 refuses one that is not 32 characters long. Directory and the lists of files are what Sources has in their place.
 *
 * These describe an installed package, and only dpkg's own database has them: Status, Config-Version and the triggers.
 *
 * All other fields of an index describe the package, so that it may bring them, as with apt-ftparchive: Section, Priority,
 * Origin, Bugs, Tag, Task, Conffiles and Phased-Update-Percentage, too.
 */
const ownedByTheIndex: ReadonlySet<string> = new Set(
  [
    "Package",
    "Filename",
    "Size",
    ...Object.values(packagesDigestField),
    "Checksum-FileSize",
    "Description-md5",
    "MSDOS-Filename",
    "Directory",
    "Files",
    "Checksums-Md5",
    "Checksums-Sha1",
    "Checksums-Sha256",
    "Checksums-Sha512",
    "Status",
    "Config-Version",
    "Triggers-Pending",
    "Triggers-Awaited",
  ].map((name) => name.toLowerCase()),
);

/**
 * Renders one package: `Package` first, then the control fields in their own order but for empty ones; `Filename`, `Size`
 * and the digests stand before `Description`, or last if there is none.
 * @param filename relative to the repository's root
 * @param description whether the stanza has all of the description, or its first line and the MD5 that Translation-en
 * has it under
 * @param overrides fields that the operator sets
 * @returns the stanza and the empty line that ends it, so that stanzas are simply concatenated
 * @throws IndexError
 */
export function renderPackage(
  inspection: BinaryInspection,
  filename: string,
  algorithms: readonly DigestAlgorithm[],
  description: "whole" | "short" = "whole",
  overrides: Stanza = [],
): string {
  // Debian Policy 5.1 allows no empty field here, and apt 2.6 refuses an empty Provides.
  const brought = inspection.control.filter(
    ([name, value]) => value !== "" && !ownedByTheIndex.has(name.toLowerCase()),
  );
  const own = withFields(brought, overrides);
  const fields: Array<Stanza[number]> = [...(description === "short" ? withShortDescription(own) : own)];
  const described = fields.findIndex(([name]) => name.toLowerCase() === "description");
  fields.splice(
    described === -1 ? fields.length : described,
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
