// Serves the changelogs of published packages, which it reads from the packages on request.
import { createHash } from "node:crypto";
import { LRUCache } from "lru-cache";
import pLimit from "p-limit";
import { abortable } from "../../base/abort.ts";
import { codeOf, messageOf, RepoError } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import type { TreePath } from "../../base/names.ts";
import type { Catalog } from "../../catalog/catalog.ts";
import type { CatalogFile } from "../../catalog/files/catalog-file.ts";
import { inspectionKeyOf } from "../../catalog/files/catalog-file.ts";
import type { BinaryFinding } from "../../catalog/files/finding.ts";
import { sourceNameOf } from "../../catalog/files/finding.ts";
import type { DebLimits } from "../../debian/deb.ts";
import type { Resource } from "../resource.ts";
import type { ChangelogLimits } from "./changelog-process.ts";
import { readChangelogInProcess } from "./changelog-process.ts";
import type { PackageResources } from "./package-resources.ts";
import type { PublishedSuites } from "./published-suites.ts";

/** The memory for recently requested changelogs. */
const maxCachedBytes = 32 * 1024 ** 2;
/** How many packages of a source are tried: in some, the documentation directory is a link to another package's. */
const maxPackagesTried = 4;
/** How many packages are read at once, so that one slow package does not block the others. */
const concurrentReads = 2;
/** How long a failure is cached. Requests in this time fail at once. */
const failureKeptMs = 600_000;
/** How many requests may wait, because each of them reads a whole package. */
const maxWaiting = 32;
/** How long the mapping from sources to their packages is cached after a request. */
const indexKeptMs = 60_000;

/** Too many changelogs are requested for this one to be read in time. */
class TooManyChangelogs extends RepoError {
  readonly code = "publishing/busy";
  constructor() {
    super("too many changelogs are being read");
  }
}

/** Reading a package for its changelog took too long, or the process failed. */
class ChangelogUnreadable extends RepoError {
  readonly code = "publishing/changelog-unreadable";
}

/** The collaborators of `ChangelogResources`. */
export interface ChangelogResourcesOptions {
  readonly catalog: Catalog;
  readonly packages: PackageResources;
  readonly inspectionLimits: DebLimits;
  readonly changelogLimits: ChangelogLimits;
  readonly log: Log;
  readonly suites: PublishedSuites;
}

/** Packages of one source, first those that most probably have its changelog, then small ones. */
type PackagesOfSource = readonly TreePath[];

interface Changelog {
  /** Empty if no package has a changelog. */
  readonly text: Uint8Array;
  readonly lastModifiedSeconds: number;
}

/** The cached result: a changelog, or the reason why there is none. */
type Outcome = Changelog | { readonly failure: string };

/** Finds changelogs. Results and failures are cached, and each package is read once. */
export class ChangelogResources {
  readonly #options: ChangelogResourcesOptions;
  readonly #indices = new LRUCache<string, ReadonlyMap<string, PackagesOfSource>>({
    max: 1,
    ttl: indexKeptMs,
    ttlAutopurge: true,
  });
  readonly #limit = pLimit(concurrentReads);
  readonly #outcomes: LRUCache<string, Outcome, readonly CatalogFile[]>;
  readonly #stopping: AbortSignal;

  /** @param stopping aborts the reads in progress */
  constructor(options: ChangelogResourcesOptions, stopping: AbortSignal) {
    this.#options = options;
    this.#stopping = stopping;
    this.#outcomes = new LRUCache<string, Outcome, readonly CatalogFile[]>({
      maxSize: maxCachedBytes,
      sizeCalculation: (outcome) => ("failure" in outcome ? outcome.failure.length : outcome.text.length + 1),
      fetchMethod: async (_key, _old, { context, options }) => {
        const outcome = await this.#limit(() => this.#readFirst(context));
        if ("failure" in outcome) options.ttl = failureKeptMs;
        return outcome;
      },
    });
  }

  /**
   * Finds the changelog at a path.
   * @param path below the repository's root: `changelogs/COMPONENT/PREFIX/SOURCE/SOURCE_VERSION_changelog`; the
   *   component is missing for a suite that has none
   * @throws TooManyChangelogs, ChangelogUnreadable, errors of reading a package
   * @see apt's acquire-entry.cc, pkgAcqChangelog
   */
  async find(path: string): Promise<Resource | undefined> {
    const [, component = "", prefix, directory, name, source] =
      /^changelogs\/(?:(.+)\/)?([^/]+)\/([^/]+)\/(([^/_]+)_[^/]+)_changelog$/.exec(path) ?? [];
    if (name === undefined || source !== directory || prefix !== prefixOf(source ?? "")) return undefined;
    const files = (this.#index().get(`${component}/${name}`) ?? [])
      .map((at) => this.#options.catalog.file(at))
      .filter((file) => file !== undefined);
    if (files.length === 0) return undefined;
    // Not by digest: the same bytes may be claimed to be a package of another name, whose changelog is elsewhere.
    const key = files.map(inspectionKeyOf).join();
    if (this.#limit.pendingCount >= maxWaiting && !this.#outcomes.has(key)) throw new TooManyChangelogs();
    const outcome = await this.#outcomes.fetch(key, { context: files });
    if (outcome === undefined) return undefined;
    if ("failure" in outcome) throw new ChangelogUnreadable(outcome.failure);
    return outcome.text.length === 0 ? undefined : resourceOf(outcome);
  }

  #index(): ReadonlyMap<string, PackagesOfSource> {
    const { state, entries } = this.#options.suites.published();
    const known = this.#indices.get(state);
    if (known !== undefined) return known;
    const index = new Map<string, readonly (readonly [TreePath, BinaryFinding])[]>();
    for (const { component, path } of entries) {
      const finding = this.#options.catalog.file(path)?.finding;
      if (finding?.kind !== "binary") continue;
      const key = `${component}/${sourceNameOf(finding)}`;
      const packages = [...(index.get(key) ?? []), [path, finding] as const].toSorted(mostProbableFirst);
      index.set(key, packages.slice(0, maxPackagesTried));
    }
    const paths = new Map([...index].map(([key, packages]) => [key, packages.map(([path]) => path)]));
    this.#indices.set(state, paths);
    return paths;
  }

  async #readFirst(files: readonly CatalogFile[]): Promise<Outcome> {
    let failure: string | undefined;
    for (const file of files) {
      const resource = this.#options.packages.inTree(file);
      if (resource === undefined || file.finding?.kind !== "binary") continue;
      const { package: name, builtAtSeconds } = file.finding;
      const text = await this.#readOne(resource, name, file.path);
      if (text instanceof Uint8Array) return { text, lastModifiedSeconds: builtAtSeconds };
      failure ??= text?.failure;
    }
    return failure === undefined ? { text: Buffer.of(), lastModifiedSeconds: 0 } : { failure };
  }

  /** @returns undefined if the package has no changelog; a failure if the package is the cause */
  async #readOne(
    resource: Resource,
    packageName: string,
    path: TreePath,
  ): Promise<Uint8Array | { readonly failure: string } | undefined> {
    const { changelogLimits, inspectionLimits, log } = this.#options;
    const { maxReadingMs, maxChangelogBytes } = changelogLimits;
    const timeout = AbortSignal.timeout(maxReadingMs);
    const signal = AbortSignal.any([this.#stopping, timeout]);
    try {
      const bytes = await abortable(resource.read({ start: 0, end: resource.sizeBytes }, signal), signal);
      const limits = { ...inspectionLimits, maxChangelogBytes };
      return await readChangelogInProcess(bytes, { packageName, limits }, signal);
    } catch (thrown) {
      const isTooSlow = timeout.aborted && !this.#stopping.aborted;
      if (!isTooSlow && codeOf(thrown) !== "publishing/changelog-unreadable") throw thrown;
      const why = isTooSlow ? `it took more than max_reading_seconds = ${maxReadingMs / 1000}` : messageOf(thrown);
      log.warn({ path, why }, "the changelog of a package could not be read");
      return { failure: `the changelog of a package could not be read: ${why}` };
    }
  }
}

/** Packages with the name of their source come first, then small ones. */
function mostProbableFirst(
  [a, findingA]: readonly [TreePath, BinaryFinding],
  [b, findingB]: readonly [TreePath, BinaryFinding],
): number {
  const isOwn = (finding: BinaryFinding): number => (sourceNameOf(finding).startsWith(`${finding.package}_`) ? 0 : 1);
  return isOwn(findingA) - isOwn(findingB) || findingA.sizeBytes - findingB.sizeBytes || (a < b ? -1 : 1);
}

const prefixOf = (source: string): string => source.slice(0, source.startsWith("lib") ? 4 : 1);

function resourceOf({ text, lastModifiedSeconds }: Changelog): Resource {
  return {
    sizeBytes: text.length,
    etag: createHash("sha256").update(text).digest("hex"),
    lastModifiedSeconds,
    contentType: "text/plain; charset=utf-8",
    caching: "revalidate",
    read: async ({ start, end }) => text.subarray(start, end),
  };
}
