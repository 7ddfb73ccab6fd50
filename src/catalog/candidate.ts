// Decides of one file whether it may stand in an index of its suite, and if not, why.
import type { TreePath } from "../base/names.ts";
import { flatSuite, joinPath, lastName, parentPath, parseArchitecture } from "../base/names.ts";
import { digestAlgorithms } from "../debian/digests.ts";
import { quoted } from "../debian/malformed.ts";
import type { CatalogFile } from "./catalog.ts";
import type { BinaryFinding, SourceFinding } from "./finding.ts";
import type { Pending, RejectCode, Rejection, SourcePart } from "./inspection.ts";
import type { Item, SourceItemPart } from "./item.ts";
import { identityOf } from "./item.ts";
import type { Place } from "./layout.ts";
import { placeOf } from "./layout.ts";

/** An item with the key under which no second one may stand: its package, version and architecture in its component. */
export interface Candidate {
  readonly key: string;
  readonly item: Item;
}

/**
 * @param fileAt the catalog's files, for the parts of a source package
 * @returns undefined for a file that no index asks for
 */
export function candidateOf(
  file: CatalogFile,
  fileAt: (path: TreePath) => CatalogFile | undefined,
): Candidate | Pending | Rejection | undefined {
  const { finding, path } = file;
  const place = placeOf(parentPath(path));
  if (finding === undefined || finding.kind === "part" || place === undefined) return undefined;
  switch (finding.kind) {
    case "rejected":
      return finding;
    case "binary":
      return binaryCandidate(file, finding, place);
    case "source":
      return sourceCandidate(file, finding, place, fileAt);
    default:
      return finding satisfies never;
  }
}

function binaryCandidate(file: CatalogFile, finding: BinaryFinding, place: Place): Candidate | Rejection {
  // A plain blank is part of Filename's value; what else is white, some programs take for the line's end.
  if (/[^\S ]/.test(lastName(file.path))) return reject("bad-name", "its name has white space other than blanks");
  if (place.kind === "source") return reject("wrong-place", "a binary package in a source directory");
  const fits = [place.architecture, "all"].includes(finding.architecture) || place.suite === flatSuite;
  if (!fits) {
    return reject("wrong-place", `a package for ${finding.architecture} in binary-${place.architecture}`);
  }
  if (file.entry.kind === "other" || file.record === undefined) return reject("not-a-file", "not a file");
  const { component } = place;
  const forInstaller = file.path.endsWith(".udeb");
  if (place.forInstaller && !forInstaller) return reject("wrong-place", "only .udeb files are for debian-installer");
  return {
    key: [component, finding.package, finding.version, finding.architecture, ...(forInstaller ? ["udeb"] : [])].join(
      " ",
    ),
    item: {
      kind: "binary",
      path: file.path,
      linkedAtMs: file.entry.linkedAtMs,
      identity: identityOf(file.path, finding.sha256, finding.stanzaKey),
      component,
      package: finding.package,
      version: finding.version,
      architecture: parseArchitecture(finding.architecture),
      entry: file.entry,
      record: file.record,
      sizeBytes: finding.sizeBytes,
      sha256: finding.sha256,
      stanzaKey: finding.stanzaKey,
      builtAtSeconds: finding.builtAtSeconds,
      descriptionKey: finding.descriptionKey,
      forInstaller,
    },
  };
}

function sourceCandidate(
  file: CatalogFile,
  finding: SourceFinding,
  place: Place,
  fileAt: (path: TreePath) => CatalogFile | undefined,
): Candidate | Pending | Rejection {
  if (place.kind === "binary") return reject("wrong-place", "a source package in a directory of binary packages");
  const white = [lastName(file.path), ...finding.parts.map(({ name }) => name)].find((name) => /\s/.test(name));
  if (white !== undefined) return reject("bad-name", `white space in ${quoted(white)} would end it in a list of files`);
  if (file.entry.kind === "other" || file.record === undefined) return reject("not-a-file", "not a file");
  const parts: SourceItemPart[] = [];
  const missing: string[] = [];
  for (const wanted of finding.parts) {
    const found = fileAt(joinPath(parentPath(file.path), wanted.name));
    const part = found === undefined ? undefined : matchPart(wanted, found);
    if (part === undefined) missing.push(wanted.name);
    else if ("code" in part) return part;
    else parts.push(part);
  }
  if (missing.length > 0) return { kind: "pending", missing };
  const { component } = place;
  const { stanzaKey } = finding;
  const { sha256 } = finding.digests;
  return {
    key: [component, finding.package, finding.version, "source"].join(" "),
    item: {
      kind: "source",
      path: file.path,
      linkedAtMs: file.entry.linkedAtMs,
      identity: identityOf(file.path, sha256, stanzaKey, ...parts.flatMap(({ digests }) => Object.values(digests))),
      component,
      package: finding.package,
      version: finding.version,
      entry: file.entry,
      record: file.record,
      sizeBytes: finding.sizeBytes,
      sha256,
      stanzaKey,
      parts,
    },
  };
}

/** Holds one file against what the .dsc says of it. */
function matchPart(wanted: SourcePart, found: CatalogFile): SourceItemPart | Rejection {
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
