// Renders a stanza of Packages: the control fields of a package, and where its file is.
import type { BinaryInspection } from "../catalog/inspection/inspection.ts";
import type { DigestAlgorithm } from "../debian/digests.ts";
import type { Stanza } from "../debian/stanza.ts";
import { fieldOf, withFields } from "../debian/stanza.ts";
import { digestOf, packagesDigestField, writeField } from "./fields.ts";
import { withShortDescription } from "./translations.ts";

/**
 * Fields that are not copied from a package, whatever digest algorithms are configured.
 *
 * The index has its own values for Package, Filename, Size and all digests. apt reads Checksum-FileSize as a further
 * digest, and every download fails if it differs from Size. apt finds the translated description by Description-md5,
 * and apt 2.6 refuses a value that does not have 32 characters. Directory and the lists of files belong to Sources.
 *
 * Status, Config-Version and the triggers describe an installed package, and occur only in the database of dpkg.
 *
 * All other fields describe the package and are copied, as in apt-ftparchive, including Section, Priority, Origin,
 * Bugs, Tag, Task, Conffiles and Phased-Update-Percentage.
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
 * Renders one package: `Package` first, then the control fields in their order without empty ones. `Filename`, `Size`
 * and the digests are before `Description`, or last if there is none.
 * @param filename relative to the root of the repository
 * @param description whether the stanza has the whole description, or its first line and the MD5 that refers to
 *   Translation-en
 * @param overrides fields that the operator sets
 * @returns the stanza with the empty line that ends it, so that stanzas can be concatenated
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
