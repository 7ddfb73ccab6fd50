// Decides of one file whether it may stand in an index of its suite, and if not, why.
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
 * @param fileAt the catalog's files, for the parts of a source package
 * @returns undefined for a file that no index asks for
 */
export function placementOf(
  file: CatalogFile,
  fileAt: (path: TreePath) => CatalogFile | undefined,
  layout: Layout = plainLayout,
): IndexEntry | Pending | Rejection | undefined {
  const { finding, path } = file;
  const place = layout.packageDirectoryOf(parentPath(path));
  if (finding === undefined || finding.kind === "part" || place === undefined) return undefined;
  switch (finding.kind) {
    case "rejected":
      return finding;
    case "binary":
      return placeBinary(file, finding, place);
    case "source":
      return placeSource(file, finding, place, fileAt);
    default:
      return finding satisfies never;
  }
}

function placeBinary(file: CatalogFile, finding: BinaryFinding, place: PackageDirectory): BinaryIndexEntry | Rejection {
  // A plain blank is part of Filename's value; what else is white, some programs take for the line's end.
  if (/[^\S ]/.test(lastName(file.path))) return reject("bad-name", "its name has white space other than blanks");
  if (place.kind === "source") return reject("wrong-place", "a binary package in a source directory");
  const { architecture, variant } = finding;
  if (place.suite === flatSuite && variant !== undefined) {
    return reject("wrong-place", `a package for ${variant}, and a flat repository is for all machines alike`);
  }
  const fits = architecture === "all" || [architecture, variant].includes(place.architecture);
  if (!fits && place.suite !== flatSuite) {
    const lacking = baseOfVariant(place.architecture) === architecture && variant === undefined;
    const what = lacking ? `${architecture} without Architecture-Variant` : (variant ?? architecture);
    return reject("wrong-place", `a package for ${what} in binary-${place.architecture}`);
  }
  if (!isExamined(file, finding)) return reject("not-a-file", "not a file");
  const item = new CatalogBinaryEntry(file, place.component);
  const isLost = place.forInstaller && !item.forInstaller;
  return isLost ? reject("wrong-place", "only .udeb files are for debian-installer") : item;
}

function placeSource(
  file: CatalogFile,
  finding: SourceFinding,
  place: PackageDirectory,
  fileAt: (path: TreePath) => CatalogFile | undefined,
): SourceIndexEntry | Pending | Rejection {
  if (place.kind === "binary") return reject("wrong-place", "a source package in a directory of binary packages");
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
  return new CatalogSourceEntry(file, place.component, parts);
}

/** Holds one file against what the .dsc says of it. */
function matchPart(wanted: SourcePart, found: CatalogFile): SourceIndexEntryPart | Rejection {
  const { finding, entry } = found;
  if (finding?.kind === "rejected") return reject("incomplete", `${wanted.name}: ${finding.text}`);
  if (finding?.kind !== "part" || entry.kind === "other")
    return reject("incomplete", `${wanted.name} can't be a part of it`);
  if (finding.sizeBytes !== wanted.sizeBytes) {
    return reject("mismatch", `${wanted.name} has ${finding.sizeBytes} bytes where the .dsc says ${wanted.sizeBytes}`);
  }
  for (const algorithm of digestAlgorithms) {
    const said = wanted.digests[algorithm];
    const seen = finding.digests[algorithm];
    if (said !== undefined && seen !== undefined && said !== seen) {
      return reject("mismatch", `${wanted.name} has another ${algorithm} than the .dsc says`);
    }
  }
  return { path: found.path, entry, sizeBytes: finding.sizeBytes, digests: finding.digests };
}

const reject = (code: RejectCode, text: string): Rejection => ({ kind: "rejected", code, text });
