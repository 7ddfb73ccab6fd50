// Answers queries about a repository, from its publications, its index of packages and its status.

import type { RepositoryName, TreePath } from "../../base/names.ts";
import { lastName, parentPath, pathNames, tryParseTreePath } from "../../base/names.ts";
import { realPathOf } from "../../catalog/layout/flat-tree.ts";
import { compareVersions } from "../../debian/version.ts";
import type { PendingFile, RejectedFile, ServedRepository } from "../../publishing/served-repository.ts";
import { cut, pageOf, pageOfAll, sliceOf } from "./cursors.ts";
import type { ListedRow, PackageIndex } from "./package-index.ts";
import { readRelationFields } from "./package-texts.ts";
import { PublicationHistory } from "./publication-history.ts";
import type { CurrentSuite, Publications } from "./publications.ts";
import { rejectAdvice } from "./reject-advice.ts";
import type {
  Budget,
  BuilderDetail,
  BuilderSummary,
  Changelog,
  Dependent,
  Diff,
  DiffQuery,
  FileListing,
  Filters,
  FoundPage,
  GridHealth,
  HiddenPackage,
  PackageDetail,
  PackageQuery,
  PackageSummary,
  PackageVersion,
  Page,
  PageQuery,
  PendingUpload,
  Reject,
  RejectQuery,
  RepositoryData,
  RepositoryHealth,
  Snapshot,
  SnapshotQuery,
  SourceDetail,
  SourceVersion,
  Upload,
  UploadQuery,
} from "./repository-data.ts";
import { BadQuery, maxChangelogCharacters, maxListedEntries, maxSearchCharacters } from "./repository-data.ts";
import { secondsOf } from "./seconds.ts";
import { namesIn, VersionDetails } from "./version-details.ts";

export interface PublishedDataOptions {
  readonly repository: ServedRepository;
  readonly publications: Publications;
  readonly index: PackageIndex;
  readonly keys: readonly { readonly fingerprint: string; readonly expiresAtSeconds: number | undefined }[];
  /** Undefined for a local folder. */
  readonly grid?: () => GridHealth;
}

/** The most dependents and other entries that a detail shows of each list. */
const maxEntriesInDetail = 100;

export class PublishedData implements RepositoryData {
  readonly name: RepositoryName;
  readonly #options: PublishedDataOptions;
  readonly #publications: Publications;
  readonly #index: PackageIndex;
  readonly #versions: VersionDetails;
  readonly #history: PublicationHistory;

  constructor(options: PublishedDataOptions) {
    this.#options = options;
    this.name = options.repository.name;
    this.#publications = options.publications;
    this.#index = options.index;
    this.#history = new PublicationHistory(options.repository, options.publications);
    const builderOf = (directory: string): string | undefined => this.#builderOf(directory);
    this.#versions = new VersionDetails({ ...options, builderOf });
  }

  async filters(signal: AbortSignal): Promise<Filters> {
    const { builders: directories, ...filters } = await this.#index.filters(signal);
    const builders = new Set(directories.flatMap((directory) => this.#builderOf(directory) ?? []));
    return { ...filters, builders: [...builders].toSorted() };
  }

  isIndexing(): boolean {
    return !this.#index.isComplete;
  }

  async packages(query: PackageQuery, signal: AbortSignal): Promise<FoundPage> {
    const slice = sliceOf(query);
    const { text = "", sort = "relevance", suite, component, architecture, builder } = query;
    if (text.length > maxSearchCharacters) throw new BadQuery(`a search has at most ${maxSearchCharacters} characters`);
    const filter = { suite, component, architecture, builder };
    const found = await this.#index.search({ ...slice, ...filter, text, sort }, signal);
    const { hasMoreThanTotal } = found;
    return { ...pageOf(slice, found.entries.map(summaryOf), found.total), hasMoreThanTotal };
  }

  async summary(name: string, signal: AbortSignal): Promise<PackageSummary | undefined> {
    const rows = await this.#index.binaries(name, signal);
    return rows.length === 0 ? undefined : summaryOf(rows);
  }

  async package(name: string, signal: AbortSignal): Promise<PackageDetail | undefined> {
    const rows = await this.#index.binaries(name, signal);
    const suites = await this.#versions.ofPackage(rows, signal);
    const hidden = this.#hidden(name);
    const earlier = await this.#history.earlierVersions(name, rows, signal);
    if (rows.length === 0 && hidden.length === 0 && earlier.length === 0) return undefined;
    const newest = suites.flatMap(({ versions }) => versions).toSorted(newestVersionFirst)[0];
    const { entries, total } = await this.dependents(name, { limit: maxEntriesInDetail }, signal);
    return {
      name,
      newest,
      suites,
      dependents: { entries, total },
      hidden: cut(hidden, maxEntriesInDetail),
      earlier: cut(earlier, maxEntriesInDetail),
    };
  }

  async dependents(name: string, query: PageQuery, signal: AbortSignal): Promise<Page<Dependent>> {
    const slice = sliceOf(query);
    const rows = await this.#index.binaries(name, signal);
    const provided = rows.flatMap((row) => namesIn(readRelationFields(this.#versions.stanzaOf(row), ["Provides"])));
    const names = [...new Set([name, ...provided])].slice(0, maxEntriesInDetail);
    const { entries, total } = await this.#index.dependents(names, slice, signal);
    const dependents = entries.map(({ row, field, on }) => ({
      name: row.name,
      suite: row.suite,
      version: row.version,
      field,
      on,
    }));
    return pageOf(slice, dependents, total);
  }

  async files(sha256: string, signal: AbortSignal): Promise<FileListing | undefined> {
    const row = await this.#index.bySha256(sha256, signal);
    const suite = row && this.#publications.find(row.suite);
    if (row === undefined || suite === undefined || row.isSource) return undefined;
    const upload = suite.repository.uploadOf(privatePath(suite, row.path));
    const paths = upload && suite.repository.fileListOf(upload.path);
    if (paths === undefined) return undefined;
    const shown = paths.slice(0, maxListedEntries).map((path) => `/${Buffer.from(path, "latin1").toString()}`);
    return {
      package: row.name,
      version: row.version,
      architecture: row.architecture,
      paths: { entries: shown, total: paths.length },
    };
  }

  async changelog({ name, version }: SourceVersion, signal: AbortSignal): Promise<Changelog | undefined> {
    const { sources, built } = await this.#index.source(name, signal);
    const row = [...built.entries, ...sources].find(({ sourceVersion }) => sourceVersion === version);
    const suite = row && this.#publications.find(row.suite);
    if (row === undefined || suite === undefined || row.isSource) return undefined;
    const prefix = name.slice(0, name.startsWith("lib") ? 4 : 1);
    const file = `${name}_${version.replace(/^\d+:/, "")}_changelog`;
    const component = row.component === "" ? "" : `${row.component}/`;
    const path = `changelogs/${component}${prefix}/${name}/${file}`;
    const resource = await suite.repository.find(path, { signal });
    if (resource === undefined) return undefined;
    const end = Math.min(resource.sizeBytes, maxChangelogCharacters);
    const chunks: Uint8Array[] = [];
    const bytes = await resource.read({ start: 0, end }, signal);
    if (bytes instanceof Uint8Array) chunks.push(bytes);
    else for await (const chunk of bytes) chunks.push(chunk);
    return { text: Buffer.concat(chunks).toString(), isCut: end < resource.sizeBytes };
  }

  async source(name: string, signal: AbortSignal): Promise<SourceDetail | undefined> {
    const { sources, built } = await this.#index.source(name, signal);
    if (sources.length === 0 && built.entries.length === 0) return undefined;
    const suites = await this.#versions.ofSource(sources, signal);
    const binaries = built.entries.map(({ name: binary, suite, version }) => ({ name: binary, suite, version }));
    const distinct = new Map(binaries.map((one) => [Object.values(one).join(" "), one]));
    // Those of several architectures count as one.
    const total = built.total - (binaries.length - distinct.size);
    return { name, suites, binaries: { entries: [...distinct.values()], total } };
  }

  async builders(signal: AbortSignal): Promise<readonly BuilderSummary[]> {
    const found = new Map<string, { packages: number; rejects: number; pending: number; uploadedMs: number }>();
    const at = (directory: string) => {
      const known = found.get(directory) ?? { packages: 0, rejects: 0, pending: 0, uploadedMs: 0 };
      found.set(directory, known);
      return known;
    };
    for (const { directory, rows, uploadedMs } of await this.#index.directories(signal)) {
      const builder = this.#builderOf(directory);
      if (builder === undefined) continue;
      const count = at(builder);
      count.packages += rows;
      count.uploadedMs = Math.max(count.uploadedMs, uploadedMs);
    }
    const { rejected, pending } = this.#options.repository.status();
    for (const { path } of rejected) {
      const builder = this.#builderOfFile(path);
      if (builder !== undefined) at(builder).rejects += 1;
    }
    for (const { path } of pending) {
      const builder = this.#builderOfFile(path);
      if (builder !== undefined) at(builder).pending += 1;
    }
    return [...found]
      .map(([directory, { uploadedMs, ...counts }]) => ({
        directory,
        ...counts,
        lastUploadSeconds: secondsOf(uploadedMs),
      }))
      .toSorted((a, b) => (a.directory < b.directory ? -1 : 1));
  }

  async builder(directory: string, signal: AbortSignal): Promise<BuilderDetail | undefined> {
    const summary = (await this.builders(signal)).find((one) => one.directory === directory);
    if (summary === undefined) return undefined;
    const uploads = await this.uploads({ builder: directory, limit: maxEntriesInDetail }, signal);
    const rejected = this.rejects({ builder: directory, limit: maxEntriesInDetail });
    const waiting = this.#options.repository.status().pending.map((file) => this.#pendingOf(file));
    return {
      ...summary,
      uploads,
      rejected,
      waiting: cut(
        waiting.filter(({ builder }) => builder === directory),
        maxEntriesInDetail,
      ),
      budgets: this.#budgetsOf(directory),
    };
  }

  async uploads({ suite, builder, ...page }: UploadQuery, signal: AbortSignal): Promise<Page<Upload>> {
    const slice = sliceOf(page);
    const { entries, total } = await this.#index.uploads({ ...slice, suite, directory: builder }, signal);
    return pageOf(
      slice,
      entries.map((row) => this.#uploadOf(row)),
      total,
    );
  }

  rejects({ suite, builder, ...page }: RejectQuery): Page<Reject> {
    const { rejected } = this.#options.repository.status();
    const found = rejected
      .map((file) => this.#rejectOf(file))
      .filter((one) => (suite ?? one.suite) === one.suite && (builder ?? one.builder) === one.builder);
    return pageOfAll(sliceOf(page), found);
  }

  pending(query: PageQuery): Page<PendingUpload> {
    const { pending } = this.#options.repository.status();
    return pageOfAll(
      sliceOf(query),
      pending.map((file) => this.#pendingOf(file)),
    );
  }

  async snapshots(query: SnapshotQuery, signal: AbortSignal): Promise<Page<Snapshot>> {
    return await this.#history.snapshots(query, signal);
  }

  async diff(query: DiffQuery, signal: AbortSignal): Promise<Diff | undefined> {
    return await this.#history.diff(query, signal);
  }

  health(): RepositoryHealth {
    const { notReady, lastError, notices, rejected, untoldRejections = 0, pending } = this.#options.repository.status();
    const suites = [...this.#publications.current()].map(({ publicName, suite, manifest, repository }) => {
      const served = [...repository.suites()].find(({ name }) => name === suite);
      return {
        suite: publicName,
        publishedSeconds: manifest.dateSeconds,
        validUntilSeconds: manifest.validUntilSeconds,
        isAwaitingDeferredFiles: served !== undefined && repository.isAwaitingDeferredFiles(served),
        rolledBackTo: manifest.rolledBackTo,
      };
    });
    const keys = this.#options.keys.map(({ fingerprint, expiresAtSeconds }) => ({
      fingerprint,
      expiresSeconds: expiresAtSeconds,
    }));
    const counts = { rejects: rejected.length + untoldRejections, pending: pending.length };
    return { notReady, lastError, notices, suites, keys, ...counts, grid: this.#options.grid?.() };
  }

  stateId(): string {
    const { suites, rejected, pending, lastError, notReady, notices } = this.#options.repository.status();
    return [suites.map(({ id }) => id).join(), rejected.length, pending.length, lastError, notReady, notices].join(
      "\n",
    );
  }

  #hidden(name: string): readonly HiddenPackage[] {
    const found: HiddenPackage[] = [];
    for (const { repository, publicName, suite, at } of this.#publications.current()) {
      const served = [...repository.suites()].find((one) => one.name === suite);
      for (const entry of served?.hiddenByView(name) ?? []) {
        if (entry.kind === "source") continue;
        const { path, version, architecture } = entry;
        const real = at === undefined ? path : realPathOf(path, at);
        found.push({ suite: publicName, version, architecture, path: real, reason: { kind: "view" } });
      }
    }
    const { rejected, pending } = this.#options.repository.status();
    for (const { path, code, reason } of rejected) {
      const parsed = partsOfFileName(path);
      if (parsed?.name !== name) continue;
      const why = { kind: "rejected", code, text: reason, advice: rejectAdvice[code] } as const;
      found.push({ ...parsed, suite: this.#suiteOf(path) ?? "", path, reason: why });
    }
    for (const { path, missing } of pending) {
      const parsed = partsOfFileName(path);
      if (parsed?.name === name)
        found.push({ ...parsed, suite: this.#suiteOf(path) ?? "", path, reason: { kind: "pending", missing } });
    }
    return found;
  }

  /** How much of each limit a builder uses, in the suite that contains its directory. */
  #budgetsOf(directory: string): readonly Budget[] {
    const path = tryParseTreePath(directory);
    if (path === undefined) return [];
    for (const { repository, at } of this.#publications.parts) {
      if (at !== undefined) continue;
      for (const suite of repository.suites()) {
        const budget = suite.budgetOf(path);
        if (budget === undefined) continue;
        const { used, limits } = budget;
        return [
          {
            limitKey: "max_directory_packages",
            used: used.maxDirectoryPackages,
            limit: limits.maxDirectoryPackages,
          },
          {
            limitKey: "max_directory_index_bytes",
            used: used.maxDirectoryIndexBytes,
            limit: limits.maxDirectoryIndexBytes,
          },
          {
            limitKey: "max_directory_variants",
            used: used.maxDirectoryVariants,
            limit: limits.maxDirectoryVariants,
          },
        ];
      }
    }
    return [];
  }

  #uploadOf(row: ListedRow): Upload {
    const { name, isSource, suite, component, version, architecture, description, sizeBytes, sha256 } = row;
    return {
      name,
      isSource,
      suite,
      component,
      version,
      architecture,
      description,
      sizeBytes,
      sha256,
      uploadedSeconds: secondsOf(row.uploadedMs),
      builder: this.#builderOf(row.directory),
    };
  }

  #rejectOf({ path, code, reason }: RejectedFile): Reject {
    return {
      path,
      suite: this.#suiteOf(path),
      builder: this.#builderOfFile(path),
      code,
      reason,
      advice: rejectAdvice[code],
    };
  }

  #pendingOf({ path, missing, inspecting }: PendingFile): PendingUpload {
    return { path, builder: this.#builderOfFile(path), missing, isBeingInspected: inspecting === true };
  }

  #suiteOf(path: TreePath): string | undefined {
    const names = pathNames(path);
    for (const { publicName, at } of this.#publications.current()) {
      if (at === undefined && path.startsWith(`dists/${publicName}/`)) return publicName;
      if (at !== undefined && names[0] !== "dists" && (at === "" || path.startsWith(`${at}/`))) return publicName;
    }
    return undefined;
  }

  #builderOf(directory: string): string | undefined {
    const path = tryParseTreePath(directory);
    if (path === undefined) return undefined;
    for (const { repository, at } of this.#publications.parts) {
      const builder = at === undefined ? repository.builderOf(path) : undefined;
      if (builder !== undefined) return builder;
    }
    return undefined;
  }

  /** A directory that could not be listed is a reject as well, and belongs to the builder's directory that it is. */
  #builderOfFile(path: TreePath): string | undefined {
    return this.#builderOf(parentPath(path));
  }
}

function summaryOf(rows: readonly ListedRow[]): PackageSummary {
  const newest = rows.toSorted((a, b) => compareVersions(b.version, a.version));
  const [first] = newest;
  const suites = [...new Set(rows.map(({ suite }) => suite))].toSorted().map((suite) => {
    const ofSuite = newest.filter((row) => row.suite === suite);
    const version = ofSuite[0]?.version ?? "";
    const same = ofSuite.filter((row) => row.version === version);
    const distinct = (values: readonly string[]) => [...new Set(values)].toSorted();
    const components = distinct(same.map(({ component }) => component));
    return { suite, version, components, architectures: distinct(same.map(({ architecture }) => architecture)) };
  });
  return {
    name: first?.name ?? "",
    description: first?.description ?? "",
    section: first?.section || undefined,
    source: first?.source ?? "",
    suites,
    uploadedSeconds: secondsOf(Math.max(0, ...rows.map(({ uploadedMs }) => uploadedMs))),
  };
}

/** Reads `NAME_VERSION_ARCHITECTURE.deb`; a .dsc has no architecture. */
function partsOfFileName(path: TreePath) {
  const [, name, version, architecture] = /^([^_]+)_([^_]+)(?:_([^_]+))?\.(?:deb|udeb|dsc)$/.exec(lastName(path)) ?? [];
  return name === undefined ? undefined : { name, version, architecture };
}

const newestVersionFirst = (a: PackageVersion, b: PackageVersion): number =>
  compareVersions(b.version, a.version) || (a.suite < b.suite ? -1 : a.suite > b.suite ? 1 : 0);

const privatePath = ({ at }: CurrentSuite, path: string): string =>
  at === undefined || at === "" ? path : path.slice(at.length + 1);
