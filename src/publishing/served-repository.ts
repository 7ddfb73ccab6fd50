// The interface between publishing and HTTP: a repository in service.
import { RepoError } from "../base/errors.ts";
import type { RepositoryName, Suite, TreePath } from "../base/names.ts";
import type { RejectCode } from "../catalog/inspection/inspection.ts";
import type { Resource } from "./resource.ts";

/** The path is unknown, and the tree is not surveyed completely, so it may exist. */
export class NotSeenYet extends RepoError {
  readonly code = "publishing/not-seen-yet";
  constructor(path: string, why: string) {
    super(`it is not known yet whether ${path} exists: ${why}`);
  }
}

/** A file that is in no index, and the reason. */
export interface RejectedFile {
  readonly path: TreePath;
  readonly code: RejectCode;
  readonly reason: string;
}

/** A file that is in no index yet: a source package that waits for its files, or a file that is not inspected yet. */
export interface PendingFile {
  /** The path of a package, of a .dsc, or of a directory that is not listed yet. */
  readonly path: TreePath;
  /** The names of the files of a .dsc that do not exist yet. */
  readonly missing: readonly string[];
  /** Set while the file is being inspected or waits for inspection. */
  readonly inspecting?: true;
}

/** A summary of the current publication of a suite. */
export interface PublicationSummary {
  readonly suite: Suite;
  /** The directory of a flat repository; undefined for a suite below `dists`. */
  readonly at?: TreePath;
  /** The id of the publication. Later publications have greater ids. */
  readonly id: string;
  /** Release's Date, seconds since the epoch. */
  readonly dateSeconds: number;
  /** The id of the publication that the suite is rolled back to; undefined if it has the content of the tree. */
  readonly rolledBackTo?: string;
}

/** A snapshot: a publication that is kept. It is served at `snapshots/ID/`. */
export interface KeptPublication {
  readonly suite: Suite;
  readonly id: string;
  /** When it was first served, in seconds since the epoch. That is later than its Date, which is derived from the time of the newest upload. */
  readonly servedSeconds: number;
  readonly isCurrent: boolean;
  /** The names under which it is kept forever, and served at `snapshots/NAME/` too. */
  readonly pins: readonly string[];
}

/** The result of a ping. All changes are published. */
export interface PingOutcome {
  /** The current publications of the suites that contain the path or are below it. */
  readonly publications: readonly PublicationSummary[];
  /** Package files that are new or have new bytes, sorted. */
  readonly added: readonly TreePath[];
  readonly removed: readonly TreePath[];
  /** The rejected files at or below the pinged path; if there are too many, the most recent ones. */
  readonly rejected: readonly RejectedFile[];
  /** The pending files at or below the pinged path. */
  readonly pending: readonly PendingFile[];
  /** Texts for the operator about the suites that contain the path or are below it. */
  readonly notices: readonly string[];
}

/** Combines several results. A suite that occurs in several of them is listed once. */
export function combined(outcomes: readonly PingOutcome[]): PingOutcome {
  const publications = new Map(
    outcomes.flatMap((outcome) => outcome.publications.map((each) => [`${each.suite} ${each.at ?? ""}`, each])),
  );
  return {
    publications: [...publications.values()],
    added: outcomes.flatMap(({ added }) => added),
    removed: outcomes.flatMap(({ removed }) => removed),
    rejected: outcomes.flatMap(({ rejected }) => rejected),
    pending: outcomes.flatMap(({ pending }) => pending),
    notices: [...new Set(outcomes.flatMap(({ notices }) => notices))],
  };
}

/** The state of a repository, for its pages. */
export interface RepositoryStatus {
  readonly suites: readonly SuiteStatus[];
  /** The suites with a slash in their names that are configured, also those that have nothing yet. */
  readonly suitesWithSlash?: readonly Suite[];
  /** The rejected files; if there are too many, the most recent ones. */
  readonly rejected: readonly RejectedFile[];
  /** The number of rejected files that are not in `rejected`. */
  readonly untoldRejections?: number;
  readonly pending: readonly PendingFile[];
  /** Texts for the operator about the tree. */
  readonly notices: readonly string[];
  /** Why this repository cannot serve now, as a text for people; undefined if it can. */
  readonly notReady: string | undefined;
  /** The last failed refresh, until one succeeds; undefined if there is none. */
  readonly lastError: string | undefined;
}

export interface SuiteStatus extends PublicationSummary {
  /** The Codename in Release; undefined if there is none. */
  readonly codename?: string;
  readonly components: readonly string[];
  readonly architectures: readonly string[];
  readonly binaryPackages: number;
  readonly sourcePackages: number;
}

/** The numbers of packages in a suite now, for the metrics. */
export interface SuiteCounts {
  /** Its public name: that of a flat repository is its directory, for example `./extras/`. */
  readonly suite: string;
  /** The current publication; undefined if there is none, or if the suite has prebuilt indices. */
  readonly published: Pick<SuiteStatus, "dateSeconds" | "binaryPackages" | "sourcePackages"> | undefined;
  /** The files that are in no index; undefined until the suite was surveyed. */
  readonly rejectedFiles: number | undefined;
}

/** The public keys of a repository. There are several while one key replaces another. */
export interface PublicKey {
  /** All keys in one armoured block. */
  readonly armored: string;
  /** The same keys without armour. */
  readonly binary: Uint8Array;
  /** 40 upper-case hex digits each. */
  readonly fingerprints: readonly string[];
}

/** The first file of a suite that a client requests which does not use by-hash, such as debmirror. */
export type ReleaseFile = "Release" | "InRelease";

/**
 * Remembers from which publication a client got Release or InRelease, so that it gets the indices, which it requests by
 * plain names, from the same one.
 * @see mirror-sessions.ts for the duration, and for how clients are distinguished
 */
export interface ClientSession {
  /** Whether it may have begun at another server of a fleet. */
  readonly isShared?: boolean;
  /**
   * The id of the publication whose Release or InRelease the client got last, as the load balancer remembers it;
   * undefined if that is not known. The load balancer may confuse suites that begin with the same directory.
   */
  readonly told?: string | undefined;
  /** Whether a load balancer asks another server of the fleet if this one cannot answer. */
  readonly canAskOthers?: boolean;
  /**
   * Must be called, and its result awaited, before the other methods: another server of the fleet may know more of the
   * client.
   * @param file the requested file, if it is one that begins a session
   * @returns undefined if nothing needs to be awaited
   */
  learn?(suiteKey: string, file: ReleaseFile | undefined, currentId: string): Promise<void> | undefined;
  /**
   * Must be called when a client requests Release or InRelease.
   * @param suiteKey identifies the suite among all suites of the server
   * @param currentId the id of the current publication of the suite
   * @returns the id of the publication to serve: the current one, or for the second file that of the first
   */
  begin(suiteKey: string, file: ReleaseFile, currentId: string): string;
  /** @returns the id of the publication of the client's Release; undefined if it requested none, or too long ago */
  continued(suiteKey: string): string | undefined;
}

/** The part of a request that a repository needs to find a resource. */
export interface RequestContext {
  /** Created on first access, which costs more than a small response: access it only before waiting. */
  readonly signal: AbortSignal;
  /** Undefined: plain names are served from the current publication. */
  readonly session?: ClientSession | undefined;
}

/** One entry of a directory, for people who browse. */
export interface ListedEntry {
  readonly name: string;
  readonly kind: "directory" | "file";
  /** Undefined for directories, and for mutable files. */
  readonly sizeBytes?: number | undefined;
  /** In seconds since the epoch; undefined if the time is not known. */
  readonly modifiedSeconds?: number | undefined;
  /** The names of the files in a directory that is named by a digest. */
  readonly holds?: readonly string[];
}

/** Selects the entries of a directory whose names are greater than `after`, at most `limit` of them. */
export interface ListingRange {
  readonly after: string;
  readonly limit: number;
}

/** A part of a directory. */
export interface DirectoryListing {
  /** Sorted by name. */
  readonly entries: readonly ListedEntry[];
  /** Whether the directory has entries after these. */
  readonly hasMore: boolean;
  /** Set if the storage is unavailable, so that files of the tree are missing here. */
  readonly isIncomplete?: true;
}

/** A repository in service. @see FlatRepositories, which passes each path on to a Repository */
export interface ServedRepository {
  readonly name: RepositoryName;
  readonly key: PublicKey;
  /**
   * Finds the resource of a path.
   * @param path below `/NAME/`, decoded once and normalised: `dists/…` or `pool/…`, without a leading slash
   * @returns undefined if there is none: only then the response is 404
   * @throws StorageUnavailable, NotSeenYet
   */
  find(path: string, context: RequestContext): Promise<Resource | undefined>;
  /**
   * Finds the resource that `find` finds if nothing needs to be waited for. Nearly all requests are for such files, and each promise
   * costs time.
   * @param session the client's session, as in the context of `find`
   * @returns undefined if `find` has to be asked
   */
  findNow(path: string, session: ClientSession | undefined): Resource | undefined;
  /**
   * Lists a directory of the files that `find` finds: generated files, packages, and the other files of the tree.
   * @param path a path as for `find`, without a trailing slash; "" is the root
   * @returns undefined if there is no such directory
   * @throws StorageUnavailable, LimitExceeded
   */
  list(path: string, range: ListingRange, signal: AbortSignal): Promise<DirectoryListing | undefined>;
  /**
   * Refreshes a directory or file and resolves when its changes are published. Aborting stops waiting, not the refresh.
   * @throws StorageUnavailable if the tree could not be read
   */
  ping(path: TreePath, signal: AbortSignal): Promise<PingOutcome>;
  /**
   * Requests a refresh that nobody waits for. It takes place even if this server ends.
   * @returns resolves when that is certain; undefined if there are no other servers: then `ping` is to be called
   * @throws ValkeyUnavailable
   */
  requestRefresh?(path: TreePath): Promise<void> | undefined;
  /** As in `status`, which lists up to all files of the repository. Load balancers ask for this all the time. */
  readonly notReady: RepositoryStatus["notReady"];
  status(): RepositoryStatus;
  /** Returns the snapshots by suite, the newest first. */
  snapshots(): Iterable<KeptPublication>;
}
