// Decides whether an index may list a file at its path, and makes the index entry or the rejection.
import type { TreePath } from "../../base/names.ts";
import { baseOfVariant, flatSuite, joinPath, lastName, parentPath } from "../../base/names.ts";
import { digestAlgorithms } from "../../debian/digests.ts";
import { quoted } from "../../debian/malformed.ts";
import type { CatalogFile } from "../files/catalog-file.ts";
import type { BinaryFinding, SourceFinding } from "../files/finding.ts";
import type { Pending, RejectCode, Rejection, SourcePart } from "../inspection/inspection.ts";
import type { Layout, PackageDirectory } from "../layout/repository-layout.ts";
import { plainLayout } from "../layout/repository-layout.ts";
import { CatalogBinaryEntry, CatalogSourceEntry, isExamined } from "./catalog-entry.ts";
import { whyNotFetchable } from "./fetchable-names.ts";
import type { BinaryIndexEntry, IndexEntry, SourceIndexEntry, SourceIndexEntryPart } from "./index-entry.ts";

/**
 * Makes the index entry of a file.
 * @param fileAt returns the catalog's files, for the parts of a source package
 * @returns undefined for a file that no index lists
 */
export function placementOf(
  file: CatalogFile,
  fileAt: (path: TreePath) => CatalogFile | undefined,
  layout: Layout = plainLayout,
): IndexEntry | Pending | Rejection | undefined {
  const { finding, path } = file;
  const directory = layout.packageDirectoryOf(parentPath(path));
  if (finding === undefined || finding.kind === "part" || directory === undefined) return undefined;
  switch (finding.kind) {
    case "rejected":
      return finding;
    case "binary":
      return placeBinary(file, finding, directory);
    case "source":
      return placeSource(file, finding, directory, fileAt);
    default:
      return finding satisfies never;
  }
}

function placeBinary(
  file: CatalogFile,
  finding: BinaryFinding,
  directory: PackageDirectory,
): BinaryIndexEntry | Rejection {
  // A space may be part of Filename's value; some programs parse other white space as the end of the line.
  if (/[^\S ]/.test(lastName(file.path))) return reject("bad-name", "its name has white space other than blanks");
  if (directory.kind === "source") return reject("wrong-place", "a binary package in a source directory");
  const { architecture, variant } = finding;
  if (directory.suite === flatSuite && variant !== undefined) {
    return reject("wrong-place", `a package for ${variant}, and a flat repository is for all machines alike`);
  }
  const fits = architecture === "all" || [architecture, variant].includes(directory.architecture);
  if (!fits && directory.suite !== flatSuite) {
    const lacksVariant = baseOfVariant(directory.architecture) === architecture && variant === undefined;
    const what = lacksVariant ? `${architecture} without Architecture-Variant` : (variant ?? architecture);
    return reject("wrong-place", `a package for ${what} in binary-${directory.architecture}`);
  }
  if (!isExamined(file, finding)) return reject("not-a-file", "not a file");
  const entry = new CatalogBinaryEntry(file, directory.component);
  const isNotForInstaller = directory.forInstaller && !entry.forInstaller;
  return isNotForInstaller ? reject("wrong-place", "only .udeb files are for debian-installer") : entry;
}

function placeSource(
  file: CatalogFile,
  finding: SourceFinding,
  directory: PackageDirectory,
  fileAt: (path: TreePath) => CatalogFile | undefined,
): SourceIndexEntry | Pending | Rejection {
  if (directory.kind === "binary") return reject("wrong-place", "a source package in a directory of binary packages");
  const names = [lastName(file.path), ...finding.parts.map(({ name }) => name)];
  const white = names.find((name) => /\s/.test(name));
  const [unfetchable] = names.flatMap((name) => whyNotFetchable(name) ?? []);
  if (unfetchable !== undefined) return reject("bad-name", unfetchable);
  if (white !== undefined) return reject("bad-name", `white space in ${quoted(white)} would end it in a list of files`);
  if (!isExamined(file, finding)) return reject("not-a-file", "not a file");
  const parts: SourceIndexEntryPart[] = [];
  const missing: string[] = [];
  for (const wanted of finding.parts) {
    const found = fileAt(joinPath(parentPath(file.path), wanted.name));
    const part = found === undefined ? undefined : matchPart(wanted, found);
    if (part === undefined) missing.push(wanted.name);
    else if ("code" in part) return part;
    else parts.push(part);
  }
  if (missing.length > 0) return { kind: "pending", missing };
  return new CatalogSourceEntry(file, directory.component, parts);
}

/** Compares a file with its size and digests in the .dsc. */
function matchPart(wanted: SourcePart, found: CatalogFile): SourceIndexEntryPart | Rejection {
  const { finding, entry } = found;
  if (finding?.kind === "rejected") return reject("incomplete", `${wanted.name}: ${finding.text}`);
  if (finding?.kind !== "part" || entry.kind === "other")
    return reject("incomplete", `${wanted.name} cannot be a part of it`);
  if (finding.sizeBytes !== wanted.sizeBytes) {
    return reject("mismatch", `${wanted.name} has ${finding.sizeBytes} bytes where the .dsc says ${wanted.sizeBytes}`);
  }
  for (const algorithm of digestAlgorithms) {
    const claimedDigest = wanted.digests[algorithm];
    const foundDigest = finding.digests[algorithm];
    if (claimedDigest !== undefined && foundDigest !== undefined && claimedDigest !== foundDigest) {
      return reject("mismatch", `${wanted.name} has another ${algorithm} than the .dsc says`);
    }
  }
  return { path: found.path, entry, sizeBytes: finding.sizeBytes, digests: finding.digests };
}

const reject = (code: RejectCode, text: string): Rejection => ({ kind: "rejected", code, text });
