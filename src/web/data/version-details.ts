// What the stanzas of packages and source packages say: the versions of a package in each suite, with their relations.
import { yieldToEventLoop } from "../../base/yield-to-event-loop.ts";
import { sourceRelations } from "../../debian/apt-fields.ts";
import type { Stanza } from "../../debian/stanza.ts";
import { fieldOf } from "../../debian/stanza.ts";
import { compareVersions } from "../../debian/version.ts";
import type { ListedRow, PackageIndex, ResolvedName } from "./package-index.ts";
import type { WrittenRelations } from "./package-texts.ts";
import { readDescription, readPerson, readPersons, readRelationFields, readWebAddress } from "./package-texts.ts";
import type { Publications } from "./publications.ts";
import { publicPath } from "./publications.ts";
import type { PackageVersion, RelationField, SourcePackageVersion, SuiteVersions } from "./repository-data.ts";
import { maxListedEntries, relationFields } from "./repository-data.ts";
import { secondsOf } from "./seconds.ts";
import { shortened } from "./shortened.ts";
import { sourceFiles, stanzaAt } from "./stanza-rows.ts";

/** The most versions of a package in one suite whose stanzas are read. */
const maxVersionsInSuite = 100;
const maxProviders = 10;

export interface VersionDetailsOptions {
  readonly publications: Publications;
  readonly index: Pick<PackageIndex, "descriptions" | "resolve">;
  /** @returns the builder's directory that contains a directory of the tree */
  readonly builderOf: (directory: string) => string | undefined;
}

/** The rows of one version in one component of a suite, and the stanza of the first one. */
interface ReadVersion {
  readonly row: ListedRow;
  readonly rows: readonly ListedRow[];
  readonly stanza: Stanza;
  readonly relations: readonly WrittenRelations[];
}

export class VersionDetails {
  readonly #options: VersionDetailsOptions;

  constructor(options: VersionDetailsOptions) {
    this.#options = options;
  }

  /** The newest versions of a package in each suite, by the names of the suites. @param rows all of the package */
  async ofPackage(rows: readonly ListedRow[], signal: AbortSignal): Promise<readonly SuiteVersions[]> {
    const suites = versionsBySuite(rows);
    const read = await this.#read(suites, (stanza) => readRelationFields(stanza, relationFields), signal);
    const digests = read.flatMap(({ stanza }) => fieldOf(stanza, "Description-md5") ?? []);
    const { index } = this.#options;
    const [known, descriptions] = await Promise.all([
      index.resolve(namesToResolve(read), signal),
      digests.length === 0 ? new Map<string, string>() : index.descriptions([...new Set(digests)], signal),
    ]);
    const versions = await inPieces(read, signal, (version) => this.#packageVersion(version, known, descriptions));
    return suites.map(({ suite, more }) => ({
      suite,
      versions: versions.filter((version) => version.suite === suite),
      moreVersions: more,
    }));
  }

  /** The versions of a source package in each suite, as of a package. @param rows all of the source package */
  async ofSource(
    rows: readonly ListedRow[],
    signal: AbortSignal,
  ): Promise<readonly { readonly suite: string; readonly versions: readonly SourcePackageVersion[] }[]> {
    const suites = versionsBySuite(rows);
    const read = await this.#read(suites, (stanza) => readRelationFields(stanza, sourceRelations), signal);
    const known = await this.#options.index.resolve(namesToResolve(read), signal);
    const versions = await inPieces(read, signal, (version) => this.#sourceVersion(version, known));
    return suites.map(({ suite }) => ({ suite, versions: versions.filter((version) => version.suite === suite) }));
  }

  /** The stanza of a row; empty if its segment is no longer kept. */
  stanzaOf({ suite, place }: ListedRow): Stanza {
    const at = this.#options.publications.find(suite);
    if (at?.repository.segments.has(place.segment) !== true) return [];
    return stanzaAt(at.repository.segments.read(place.segment, "plain"), place);
  }

  async #read(
    suites: readonly VersionsOfSuite[],
    relationsOf: (stanza: Stanza) => readonly WrittenRelations[],
    signal: AbortSignal,
  ): Promise<readonly ReadVersion[]> {
    const groups = suites.flatMap(({ versions }) => versions);
    return await inPieces(groups, signal, (rows) => {
      const [row] = rows;
      if (row === undefined) throw new Error("a version has at least one file");
      const stanza = this.stanzaOf(row);
      return { row, rows, stanza, relations: relationsOf(stanza) };
    });
  }

  #packageVersion(
    { row, rows, stanza, relations }: ReadVersion,
    known: ReadonlyMap<string, ResolvedName>,
    descriptions: ReadonlyMap<string, string>,
  ): PackageVersion {
    const phased = Number(fieldOf(stanza, "Phased-Update-Percentage") ?? Number.NaN);
    const description =
      descriptions.get(fieldOf(stanza, "Description-md5") ?? "") ?? fieldOf(stanza, "Description") ?? "";
    return {
      suite: row.suite,
      component: row.component,
      version: row.version,
      source: { name: row.source, version: row.sourceVersion },
      section: row.section || undefined,
      priority: shortenedField(stanza, "Priority"),
      isEssential: fieldOf(stanza, "Essential") === "yes",
      maintainer: readPerson(fieldOf(stanza, "Maintainer")),
      homepage: readWebAddress(fieldOf(stanza, "Homepage")),
      description: readDescription(description),
      relations: resolved(relations, known, row.suite),
      files: rows.map((each) => ({
        architecture: each.architecture,
        path: each.path,
        sizeBytes: each.sizeBytes,
        installedBytes: installedBytesOf(fieldOf(each === row ? stanza : this.stanzaOf(each), "Installed-Size")),
        sha256: each.sha256,
        uploadedSeconds: secondsOf(each.uploadedMs),
        builder: this.#options.builderOf(each.directory),
        isForInstaller: each.isForInstaller,
      })),
      phasedPercent: phased < 100 ? phased : undefined,
    };
  }

  #sourceVersion({ row, stanza, relations }: ReadVersion, known: ReadonlyMap<string, ResolvedName>) {
    const suite = this.#options.publications.find(row.suite);
    const list = (name: string, separator: RegExp) =>
      (fieldOf(stanza, name) ?? "").split(separator, maxListedEntries).flatMap((one) => shortened(one.trim()) || []);
    return {
      suite: row.suite,
      component: row.component,
      version: row.version,
      section: row.section || undefined,
      maintainer: readPerson(fieldOf(stanza, "Maintainer")),
      uploaders: readPersons(fieldOf(stanza, "Uploaders")),
      homepage: readWebAddress(fieldOf(stanza, "Homepage")),
      vcsBrowser: readWebAddress(fieldOf(stanza, "Vcs-Browser")),
      standardsVersion: shortenedField(stanza, "Standards-Version"),
      architectures: list("Architecture", /\s+/),
      binaries: list("Binary", /,/),
      relations: resolved(relations, known, row.suite),
      files: sourceFiles(stanza).map(({ path, sizeBytes, sha256 }) => ({
        name: path.slice(path.lastIndexOf("/") + 1),
        path: suite === undefined ? path : publicPath(suite, path),
        sizeBytes,
        sha256,
      })),
      uploadedSeconds: secondsOf(row.uploadedMs),
      builder: this.#options.builderOf(row.directory),
    };
  }
}

interface VersionsOfSuite {
  readonly suite: string;
  /** The rows of each version in each component, sorted by architecture; the newest versions first. */
  readonly versions: readonly (readonly ListedRow[])[];
  /** The number of further versions. */
  readonly more: number;
}

function versionsBySuite(rows: readonly ListedRow[]): readonly VersionsOfSuite[] {
  const suites = new Map<string, Map<string, ListedRow[]>>();
  for (const row of rows) {
    const groups = suites.get(row.suite) ?? new Map<string, ListedRow[]>();
    suites.set(row.suite, groups);
    const key = `${row.component} ${row.version}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [row]);
    else group.push(row);
  }
  return [...suites]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([suite, groups]) => {
      const versions = [...groups.values()].toSorted(([a], [b]) => compareVersions(b?.version ?? "", a?.version ?? ""));
      return {
        suite,
        versions: versions.slice(0, maxVersionsInSuite).map((group) => group.toSorted(byArchitecture)),
        more: Math.max(0, versions.length - maxVersionsInSuite),
      };
    });
}

/** Applies a function to each item, and lets other work run in between. */
async function inPieces<Item, Result>(
  items: readonly Item[],
  signal: AbortSignal,
  apply: (item: Item) => Result,
): Promise<readonly Result[]> {
  const yieldNow = yieldToEventLoop(signal);
  const results: Result[] = [];
  for (const item of items) {
    results.push(apply(item));
    await yieldNow();
  }
  return results;
}

const namesToResolve = (versions: readonly ReadVersion[]): readonly string[] =>
  [...new Set(versions.flatMap(({ relations }) => namesIn(relations)))].slice(0, maxListedEntries);

/** The names of all packages that relations name. */
export const namesIn = (relations: readonly WrittenRelations[]): readonly string[] =>
  relations.flatMap(({ groups }) => groups.flatMap((group) => group.map(({ name }) => name)));

const resolved = (
  written: readonly WrittenRelations[],
  known: ReadonlyMap<string, ResolvedName>,
  suite: string,
): readonly RelationField[] =>
  written.map(({ field, groups }) => ({
    field,
    groups: groups.map((group) => group.map((one) => ({ ...one, ...resolutionOf(known.get(one.name), suite) }))),
  }));

function resolutionOf(known: ResolvedName | undefined, suite: string) {
  const names = known?.providers.filter((one) => one.suite === suite).map(({ name }) => name) ?? [];
  const providers = [...new Set(names)].toSorted().slice(0, maxProviders);
  const isListed = known?.suites.includes(suite) === true;
  const isElsewhere = known !== undefined && known.suites.length > 0;
  const how = isListed ? "package" : providers.length > 0 ? "provided" : isElsewhere ? "elsewhere" : "unknown";
  return { resolved: how, providers } as const;
}

function shortenedField(stanza: Stanza, name: string): string | undefined {
  const text = fieldOf(stanza, name);
  return text === undefined ? undefined : shortened(text);
}

/** Installed-Size is in KiB. */
function installedBytesOf(field: string | undefined): number | undefined {
  return field !== undefined && /^\d{1,12}$/.test(field) ? Number(field) * 1024 : undefined;
}

const byArchitecture = (a: ListedRow, b: ListedRow): number =>
  a.architecture < b.architecture ? -1 : a.architecture > b.architecture ? 1 : 0;
