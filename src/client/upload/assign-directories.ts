// Which of a bundle's directories each file goes to, and whether the server would list it there.

import type { TreePath } from "../../base/names.ts";
import { joinPath, lastName, parentPath, rootPath, tryJoinPath } from "../../base/names.ts";
import type { CatalogFile } from "../../catalog/files/catalog-file.ts";
import { findingOf } from "../../catalog/files/finding.ts";
import type { InspectLimits } from "../../catalog/inspection/inspect-limits.ts";
import type { SoundInspection } from "../../catalog/inspection/inspection.ts";
import type { Layout, PackageDirectory } from "../../catalog/layout/repository-layout.ts";
import { plainLayout } from "../../catalog/layout/repository-layout.ts";
import { inspectionOf, parseEntryMetadata } from "../../catalog/metadata/entry-metadata.ts";
import { placementOf } from "../../catalog/suite/placement-rules.ts";
import { variantOf } from "../../debian/control.ts";
import { fieldOf } from "../../debian/stanza.ts";
import type { Entry } from "../../storage/tree.ts";
import type { Bundle, BundleDirectory } from "../bundle.ts";
import type { CollectedFiles, LocalFile, Problem } from "./local-files.ts";

/** One of the bundle's directories, as it was listed, and what goes there. */
export interface Parcel {
  readonly directory: BundleDirectory;
  readonly place: PackageDirectory;
  readonly entries: ReadonlyMap<string, Entry>;
  readonly files: readonly LocalFile[];
}

/** Narrows down where packages may go. */
export interface Choice {
  /** Goes before what a .changes says. */
  readonly suite?: string | undefined;
  readonly component?: string | undefined;
}

type Placed = BundleDirectory & { readonly place: PackageDirectory };

export interface Assignment {
  /** In the order in which they may appear: what others depend on comes first. */
  readonly destinations: ReadonlyMap<Placed, readonly LocalFile[]>;
  readonly problems: readonly Problem[];
}

/**
 * Finds a directory for every file: by suite (as chosen, as a .changes says, or the only one), by component (as chosen,
 * as Section says, or the only one), and by architecture. A source package's files stay together.
 * @param codenames the server's suites by their codenames, as far as they are known
 * @param layout tells suites with a slash from components
 */
export function assign(
  bundle: Bundle,
  { files, distributions }: CollectedFiles,
  choice: Choice,
  codenames: ReadonlyMap<string, string>,
  layout: Layout = plainLayout,
): Assignment {
  const problems: Problem[] = [];
  const placed = bundle.directories
    .flatMap((directory): Placed[] => {
      const place = layout.packageDirectoryOf(directory.path);
      return place === undefined ? [] : [{ ...directory, place }];
    })
    .filter(({ place }) => (choice.suite ?? place.suite) === place.suite);
  const known = new Set(placed.map(({ place }) => place.suite as string));
  const suites = new Set<string>();
  for (const [file, names] of choice.suite === undefined ? distributions : []) {
    const [suite, reason] = suiteFor(names, known, codenames);
    if (suite === undefined) problems.push({ file, reason });
    else suites.add(suite);
  }
  if (problems.length > 0) return { destinations: new Map(), problems };
  const named = placed.filter(({ place }) => suites.has(place.suite));
  const inSuite = named.length > 0 ? named : placed;
  const found = new Map<Placed, LocalFile[]>();
  for (const file of files.values()) {
    if (file.inspection.kind === "part") continue;
    const fitting = inComponent(
      inSuite.filter(({ place }) => fits(file, place)),
      file,
      choice,
    );
    const [best] = fitting.toSorted((one, two) => rank(file, one.place) - rank(file, two.place));
    if (best === undefined || new Set(fitting.map(({ place }) => `${place.suite}/${place.component}`)).size > 1) {
      problems.push({ file: file.path, reason: best === undefined ? noPlace(bundle, file) : ambiguous(fitting) });
      continue;
    }
    const parts = file.inspection.kind === "source" ? file.inspection.parts : [];
    const together = parts.flatMap(({ name }) => files.get(name) ?? []);
    found.set(best, [...new Set([...(found.get(best) ?? []), ...together, file])]);
  }
  const ordered = [...found].toSorted(([one], [two]) => order(one.place) - order(two.place));
  return { destinations: new Map(ordered), problems };
}

/**
 * The suite that a .changes file is for.
 * @param names in its Distribution field
 * @param known the suites of the bundle
 * @returns the suite, or why there is none
 * @see Debian Policy 5.6.14
 */
function suiteFor(
  names: readonly string[],
  known: ReadonlySet<string>,
  codenames: ReadonlyMap<string, string>,
): readonly [suite: string, reason: ""] | readonly [suite: undefined, reason: string] {
  const found = names.map((name) => (known.has(name) ? name : codenames.get(name)));
  const has = `the bundle has ${[...known].toSorted().join(", ") || "no suite"}; --suite chooses one`;
  const strangers = names.filter((_, at) => found[at] === undefined || !known.has(found[at]));
  if (strangers.length > 0) return [undefined, `its Distribution ${strangers.join(", ")} is no suite here: ${has}`];
  const [suite, ...others] = new Set(found);
  if (suite === undefined) return [undefined, `it has no Distribution: ${has}`];
  if (others.length > 0) return [undefined, `its Distribution names several suites, ${names.join(", ")}: ${has}`];
  return [suite, ""];
}

function fits({ name, inspection }: LocalFile, place: PackageDirectory): boolean {
  if (inspection.kind !== "binary" || place.kind === "source") return inspection.kind === place.kind;
  const architecture = fieldOf(inspection.control, "Architecture");
  const isIts = architecture === "all" || [architecture, variantOf(inspection.control)].includes(place.architecture);
  return isIts && (!place.forInstaller || name.endsWith(".udeb"));
}

/** All component directories, unless one is chosen or is the one that the package's Section names. */
function inComponent(fitting: readonly Placed[], { inspection }: LocalFile, { component }: Choice): readonly Placed[] {
  if (component !== undefined) return fitting.filter(({ place }) => place.component === component);
  const stanza = inspection.kind === "binary" ? inspection.control : inspection.kind === "source" ? inspection.dsc : [];
  const named = /^([^/\s]+)\//.exec(fieldOf(stanza, "Section") ?? "")?.[1] ?? "main";
  const own = fitting.filter(({ place }) => place.component === named);
  return own.length > 0 ? own : fitting;
}

/** The directory that tells most about the package goes first. */
function rank({ name, inspection }: LocalFile, place: PackageDirectory): number {
  if (inspection.kind !== "binary" || place.kind !== "binary") return 0;
  const built = variantOf(inspection.control) ?? fieldOf(inspection.control, "Architecture");
  const own = place.architecture === built ? 0 : 1;
  return own + (place.forInstaller === name.endsWith(".udeb") ? 0 : 2);
}

/** Sources, then what any architecture may depend on, then the rest. */
const order = (place: PackageDirectory): number => (place.kind === "source" ? 0 : place.architecture === "all" ? 1 : 2);

function noPlace({ directories }: Bundle, { inspection }: LocalFile): string {
  const what =
    inspection.kind === "binary" ? `a package for ${fieldOf(inspection.control, "Architecture")}` : "a source package";
  return `${what} has no place in ${directories.map(({ path }) => path || "the tree's root").join(", ")}`;
}

const ambiguous = (fitting: readonly Placed[]): string =>
  `could go to ${fitting.map(({ path }) => path).join(" or ")}: choose by --suite and --component`;

/**
 * Asks what the server will say of each package, by the very rules that it follows.
 * @returns what speaks against a package, also what is in the directory under its name already
 */
export function objections(
  { directory, entries, files }: Parcel,
  mayReplace: boolean,
  limits: InspectLimits,
  layout: Layout = plainLayout,
): readonly Problem[] {
  const ours = new Map(files.map((file) => [file.name, file]));
  const fileAt = (path: TreePath): CatalogFile | undefined => {
    const name = lastName(path);
    const own = ours.get(name)?.inspection;
    return asSeen(path, own ?? claimOf(entries.get(name), limits));
  };
  return files.flatMap(({ path: file, name, inspection }): Problem[] => {
    const path = tryJoinPath(directory.path, name);
    const seen = path === undefined ? undefined : fileAt(path);
    if (path === undefined || seen === undefined)
      return [{ file, reason: "its name is none that a directory can hold" }];
    const judged = placementOf(seen, fileAt, layout);
    if (judged?.kind === "rejected") return [{ file, reason: judged.text }];
    if (judged?.kind === "pending") {
      return [
        { file, reason: `${judged.missing.join(", ")} is neither beside it nor in ${parentPath(path) || rootPath}` },
      ];
    }
    const there = entries.get(name);
    if (there === undefined || mayReplace || !isOther(there, inspection, limits)) return [];
    return [otherBytes(directory, { path: file, name })];
  });
}

/** The problem of a name that is taken. */
export function otherBytes({ path }: BundleDirectory, file: Pick<LocalFile, "path" | "name">): Problem {
  const taken = joinPath(path, file.name);
  return {
    file: file.path,
    reason: `${taken} is there already with other bytes: --replace puts this one in its place`,
  };
}

/** Whether an entry is surely not the file that was inspected. */
function isOther(entry: Entry, { sizeBytes, digests }: SoundInspection, limits: InspectLimits): boolean {
  if (entry.kind !== "file") return true;
  if (entry.sizeBytes !== undefined && entry.sizeBytes !== sizeBytes) return true;
  const said = parseEntryMetadata(entry.metadata, limits);
  return said !== undefined && said.sha256 !== digests.sha256;
}

/** What an earlier upload said of a part. */
function claimOf(entry: Entry | undefined, limits: InspectLimits): SoundInspection | undefined {
  if (entry?.kind !== "file" || entry.content === undefined) return undefined;
  const said = parseEntryMetadata(entry.metadata, limits);
  return said && inspectionOf(said, "part", { sizeBytes: entry.sizeBytes, algorithms: [], limits });
}

/** A file as the server's catalog will have it. */
function asSeen(path: TreePath, inspection: SoundInspection | undefined): CatalogFile | undefined {
  if (inspection === undefined) return undefined;
  return {
    path,
    entry: {
      kind: "file",
      sizeBytes: inspection.sizeBytes,
      content: undefined,
      linkedAtMs: 0,
      relinkedAtMs: 0,
      metadata: undefined,
    },
    claimed: true,
    metadataKey: undefined,
    finding: findingOf(inspection),
  };
}
