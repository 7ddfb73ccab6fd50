// A repository with the flat repositories in the same tree. Requests and pings go to the one at whose directory they
// are.
import type { RepositoryName, TreePath } from "../../base/names.ts";
import { flatPathsOf, realPathOf } from "../../catalog/layout/flat-tree.ts";
import { flatPath } from "../../catalog/layout/repository-layout.ts";
import type { Resource } from "../resource.ts";
import { combinedListing, partOf } from "../serve/directory-listings.ts";
import type {
  ClientSession,
  DirectoryListing,
  KeptPublication,
  ListingRange,
  PingOutcome,
  PublicKey,
  RepositoryStatus,
  RequestContext,
  ServedRepository,
  SuiteCounts,
} from "../served-repository.ts";
import { combined } from "../served-repository.ts";
import { FlatFiles, innermostFirst } from "./flat-files.ts";
import { flatSuiteName, renamed, withPublicNames } from "./flat-names.ts";
import type { Repository } from "./repository.ts";

/** One flat repository, over a FlatTree. */
export interface FlatRepository {
  readonly at: TreePath;
  readonly repository: Repository;
}

export class FlatRepositories implements ServedRepository {
  readonly name: RepositoryName;
  readonly key: PublicKey;
  readonly #main: Repository;
  readonly #flats: readonly FlatRepository[];
  readonly #files: FlatFiles;

  constructor(main: Repository, flats: readonly FlatRepository[]) {
    this.name = main.name;
    this.key = main.key;
    this.#main = main;
    this.#flats = innermostFirst(flats);
    this.#files = new FlatFiles(main.name, main, flats);
  }

  /** @returns the message of a first refresh's failure, when all have ended; undefined if none has failed */
  async start(pollSeconds: number): Promise<string | undefined> {
    const failures = await Promise.all([...this.all()].map((repository) => repository.start(pollSeconds)));
    return failures.find((failure) => failure !== undefined);
  }

  /** Runs a task while nothing is published or removed. */
  async whileNothingIsPublished<T>(task: () => Promise<T>): Promise<T> {
    const holding = [...this.all()].reduce(
      (inner, repository) => () => repository.whileNothingIsPublished(inner),
      task,
    );
    return await holding();
  }

  async stop(): Promise<void> {
    await Promise.all([...this.all()].map((repository) => repository.stop()));
  }

  findNow(path: string, session: ClientSession | undefined): Resource | undefined {
    return this.#files.findNow(path, session);
  }

  async find(path: string, context: RequestContext): Promise<Resource | undefined> {
    return await this.#files.find(path, context);
  }

  async list(path: string, range: ListingRange, signal: AbortSignal): Promise<DirectoryListing | undefined> {
    const ofFlats = this.#flats.map(({ at, repository }) => {
      const rest =
        at === "" ? path : path === at ? "" : path.startsWith(`${at}/`) ? path.slice(at.length + 1) : undefined;
      if (rest === undefined) return undefined;
      if (rest === "") {
        const pool = repository.listGenerated("pool", range) && partOf([{ name: "pool", kind: "directory" }], range);
        return combinedListing([repository.listGenerated(flatPath, range), pool], range);
      }
      return repository.listGenerated(/^pool(\/|$)/.test(rest) ? rest : `${flatPath}/${rest}`, range);
    });
    return combinedListing([...ofFlats, await this.#main.list(path, range, signal)], range);
  }

  async ping(path: TreePath, signal: AbortSignal): Promise<PingOutcome> {
    const ofFlats = this.#flats.flatMap(({ at, repository }) =>
      flatPathsOf(path, at).map(async (flat) => {
        try {
          return inTree(await repository.ping(flat, signal), at);
        } catch (thrown) {
          throw renamed(thrown, at);
        }
      }),
    );
    return combined(await Promise.all([this.#main.ping(path, signal), ...ofFlats]));
  }

  get notReady(): string | undefined {
    const ofMain = this.#main.notReady;
    if (ofMain !== undefined) return ofMain;
    for (const repository of this.all()) for (const _served of repository.publications()) return undefined;
    const waiting = this.#flats.find(({ repository }) => repository.notReady !== undefined);
    return waiting && withPublicNames(waiting.repository.notReady ?? "", waiting.at);
  }

  status(): RepositoryStatus {
    const main = this.#main.status();
    const flats = this.#flats.map(({ at, repository }) => {
      const { suites, rejected, untoldRejections = 0, pending, lastError } = repository.status();
      return {
        suites: suites.map((suite) => ({ ...suite, at })),
        ...filesInTree({ rejected, pending }, at),
        untoldRejections,
        lastError: lastError && withPublicNames(lastError, at),
      };
    });
    const suites = [...main.suites, ...flats.flatMap((flat) => flat.suites)];
    return {
      ...(main.suitesWithSlash !== undefined && { suitesWithSlash: main.suitesWithSlash }),
      suites,
      rejected: [...main.rejected, ...flats.flatMap(({ rejected }) => rejected)],
      untoldRejections: flats.reduce((sum, flat) => sum + flat.untoldRejections, main.untoldRejections ?? 0),
      notices: main.notices,
      pending: [...main.pending, ...flats.flatMap(({ pending }) => pending)],
      notReady: this.notReady,
      lastError: main.lastError ?? flats.find(({ lastError }) => lastError !== undefined)?.lastError,
    };
  }

  /** The numbers of packages in each suite and each flat repository now. */
  *suiteCounts(): Iterable<SuiteCounts> {
    yield* this.#main.suiteCounts();
    for (const { at, repository } of this.#flats) {
      for (const counts of repository.suiteCounts()) yield { ...counts, suite: flatSuiteName(at) };
    }
  }

  /** Returns the snapshots of the suites below `dists`. Flat repositories have none. */
  snapshots(): Iterable<KeptPublication> {
    return this.#main.snapshots();
  }

  /** The repository itself and the flat ones. */
  *all(): Iterable<Repository> {
    yield this.#main;
    for (const { repository } of this.#flats) yield repository;
  }
}

const inTree = ({ publications, added, removed, notices, ...files }: PingOutcome, at: TreePath): PingOutcome => ({
  publications: publications.map((publication) => ({ ...publication, at })),
  added: added.map((path) => realPathOf(path, at)),
  removed: removed.map((path) => realPathOf(path, at)),
  ...filesInTree(files, at),
  notices,
});

const filesInTree = ({ rejected, pending }: Pick<PingOutcome, "rejected" | "pending">, at: TreePath) => ({
  rejected: rejected.map((file) => ({
    ...file,
    path: realPathOf(file.path, at),
    reason: withPublicNames(file.reason, at),
  })),
  pending: pending.map((source) => ({ ...source, path: realPathOf(source.path, at) })),
});
