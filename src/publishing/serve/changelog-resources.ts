// The changelogs of published packages, read out of the packages themselves when somebody asks.
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
import type { IndexEntry } from "../../catalog/suite/index-entry.ts";
import type { DebLimits } from "../../debian/deb.ts";
import type { Resource } from "../resource.ts";
import type { ChangelogLimits } from "./changelog-process.ts";
import { readChangelogApart } from "./changelog-process.ts";
import type { PackageResources } from "./package-resources.ts";

/** What the changelogs that were asked for last may take up in memory. */
const maxRememberedBytes = 32 * 1024 ** 2;
/** So many of a source's packages are read in search of it: in some the directory is a link to another package's. */
const maxPackagesTried = 4;
/** So many are read at a time, so that one package that takes its whole time does not hold up all others. */
const readAtOnce = 2;
/** How long it is remembered that reading one failed: whoever asks again so soon is told so at once. */
const failureKeptMs = 600_000;
/** More than these may not wait for their turn: each turn reads a whole package. */
const maxWaiting = 32;
/** How long it is remembered which packages come from which source after somebody asked. */
const indexKeptMs = 60_000;

/** So many changelogs are asked for that this one would come too late. */
class TooManyChangelogs extends RepoError {
  readonly code = "publishing/busy";
  constructor() {
    super("too many changelogs are being read");
  }
}

/** Reading a package for its changelog took too long, or ended its process. */
class ChangelogUnreadable extends RepoError {
  readonly code = "publishing/changelog-unreadable";
}

export interface ChangelogResourcesOptions {
  readonly catalog: Catalog;
  readonly packages: PackageResources;
  readonly inspectionLimits: DebLimits;
  readonly changelogLimits: ChangelogLimits;
  readonly log: Log;
  /** All published packages, by a name that changes whenever they do. */
  readonly published: () => { readonly state: string; readonly items: Iterable<IndexEntry> };
}

/** Some packages of one source, those first that are most likely to have its changelog, and cheap. */
type Carriers = readonly TreePath[];

interface Changelog {
  /** Empty where no package has one. */
  readonly text: Uint8Array;
  readonly lastModifiedSeconds: number;
}

/** What is remembered: a changelog, or why there is none for now. */
type Outcome = Changelog | { readonly failure: string };

export class ChangelogResources {
  readonly #parts: ChangelogResourcesOptions;
  readonly #indices = new LRUCache<string, ReadonlyMap<string, Carriers>>({
    max: 1,
    ttl: indexKeptMs,
    ttlAutopurge: true,
  });
  readonly #reading = pLimit(readAtOnce);
  readonly #read: LRUCache<string, Outcome, readonly CatalogFile[]>;
  readonly #stopping: AbortSignal;

  /** @param stopping ends what is under way */
  constructor(parts: ChangelogResourcesOptions, stopping: AbortSignal) {
    this.#parts = parts;
    this.#stopping = stopping;
    this.#read = new LRUCache<string, Outcome, readonly CatalogFile[]>({
      maxSize: maxRememberedBytes,
      sizeCalculation: (outcome) => ("failure" in outcome ? outcome.failure.length : outcome.text.length + 1),
      fetchMethod: async (_key, _old, { context, options }) => {
        const outcome = await this.#reading(() => this.#readFirst(context));
        if ("failure" in outcome) options.ttl = failureKeptMs;
        return outcome;
      },
    });
  }

  /**
   * @param path below the repository's root: `changelogs/COMPONENT/PREFIX/SOURCE/SOURCE_VERSION_changelog`, and without
   * the component for a suite that has none
   * @throws TooManyChangelogs, ChangelogUnreadable; what reading a package throws
   * @see apt's acquire-item.cc, pkgAcqChangelog
   */
  async find(path: string): Promise<Resource | undefined> {
    const [, component = "", prefix, directory, name, source] =
      /^changelogs\/(?:(.+)\/)?([^/]+)\/([^/]+)\/(([^/_]+)_[^/]+)_changelog$/.exec(path) ?? [];
    if (name === undefined || source !== directory || prefix !== prefixOf(source ?? "")) return undefined;
    const files = (this.#index().get(`${component}/${name}`) ?? [])
      .map((at) => this.#parts.catalog.file(at))
      .filter((file) => file !== undefined);
    if (files.length === 0) return undefined;
    // Not by digest: others may have claimed the same bytes for a package of another name, whose changelog is elsewhere.
    const key = files.map(inspectionKeyOf).join();
    if (this.#reading.pendingCount >= maxWaiting && !this.#read.has(key)) throw new TooManyChangelogs();
    const outcome = await this.#read.fetch(key, { context: files });
    if (outcome === undefined) return undefined;
    if ("failure" in outcome) throw new ChangelogUnreadable(outcome.failure);
    return outcome.text.length === 0 ? undefined : resourceOf(outcome);
  }

  #index(): ReadonlyMap<string, Carriers> {
    const { state, items } = this.#parts.published();
    const known = this.#indices.get(state);
    if (known !== undefined) return known;
    const index = new Map<string, readonly (readonly [TreePath, BinaryFinding])[]>();
    for (const { component, path } of items) {
      const finding = this.#parts.catalog.file(path)?.finding;
      if (finding?.kind !== "binary") continue;
      const key = `${component}/${sourceNameOf(finding)}`;
      const carriers = [...(index.get(key) ?? []), [path, finding] as const].toSorted(likeliestFirst);
      index.set(key, carriers.slice(0, maxPackagesTried));
    }
    const paths = new Map([...index].map(([key, carriers]) => [key, carriers.map(([path]) => path)]));
    this.#indices.set(state, paths);
    return paths;
  }

  async #readFirst(files: readonly CatalogFile[]): Promise<Outcome> {
    let failure: string | undefined;
    for (const file of files) {
      const resource = this.#parts.packages.inTree(file);
      if (resource === undefined || file.finding?.kind !== "binary") continue;
      const { package: name, builtAtSeconds } = file.finding;
      const text = await this.#readOne(resource, name, file.path);
      if (text instanceof Uint8Array) return { text, lastModifiedSeconds: builtAtSeconds };
      failure ??= text?.failure;
    }
    return failure === undefined ? { text: Buffer.of(), lastModifiedSeconds: 0 } : { failure };
  }

  /** @returns undefined where the package has no changelog; a failure that is this package's own */
  async #readOne(
    resource: Resource,
    packageName: string,
    path: TreePath,
  ): Promise<Uint8Array | { readonly failure: string } | undefined> {
    const { changelogLimits, inspectionLimits, log } = this.#parts;
    const { maxReadingMs, maxChangelogBytes } = changelogLimits;
    const late = AbortSignal.timeout(maxReadingMs);
    const signal = AbortSignal.any([this.#stopping, late]);
    try {
      const bytes = await abortable(resource.read({ start: 0, end: resource.sizeBytes }, signal), signal);
      const limits = { ...inspectionLimits, maxChangelogBytes };
      return await readChangelogApart(bytes, { packageName, limits }, signal);
    } catch (thrown) {
      const isLate = late.aborted && !this.#stopping.aborted;
      if (!isLate && codeOf(thrown) !== "publishing/changelog-unreadable") throw thrown;
      const why = isLate ? `it took more than max_reading_seconds = ${maxReadingMs / 1000}` : messageOf(thrown);
      log.warn({ path, why }, "a package could not be read for its changelog");
      return { failure: `a package could not be read for its changelog: ${why}` };
    }
  }
}

/** A package of its source's own name comes first, then small ones. */
function likeliestFirst(
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
