// What a served repository offers to those who ask over HTTP: the port between publishing and http.
import { RepoError } from "../base/errors.ts";
import type { RepositoryName, Suite, TreePath } from "../base/names.ts";
import type { RejectCode } from "../catalog/inspection/inspection.ts";
import type { Resource } from "./resource.ts";

/** Nothing of this name is known, and the tree has not been seen well enough to say that there is none. */
export class NotSeenYet extends RepoError {
  readonly code = "publishing/not-seen-yet";
  constructor(path: string, why: string) {
    super(`whether there is ${path} is not known yet: ${why}`);
  }
}

/** A file that is in no index, and why. */
export interface RejectedFile {
  readonly path: TreePath;
  readonly code: RejectCode;
  readonly reason: string;
}

/** What is in no index yet: a source package that waits for files of its own, or what was not inspected yet. */
export interface PendingFile {
  /** Of a package, of a source package's .dsc, or of a directory that was not listed yet. */
  readonly path: TreePath;
  /** Names of the files that are not beside a .dsc yet. */
  readonly missing: readonly string[];
  /** Set while it is being inspected, or waits for that. */
  readonly inspecting?: true;
}

/** A suite's current publication in short. */
export interface PublicationSummary {
  readonly suite: Suite;
  /** Where a flat repository is in the tree; undefined for a suite below `dists`. */
  readonly at?: TreePath;
  /** Names the publication; grows with time. */
  readonly id: string;
  /** Release's Date, seconds since the epoch. */
  readonly dateSeconds: number;
  /** The publication whose content this one has, whatever the tree holds; undefined for what the tree held. */
  readonly rolledBackTo?: string;
}

/** A publication that is kept: its suite as it was then is at `snapshots/ID/`. */
export interface KeptPublication {
  readonly suite: Suite;
  readonly id: string;
  /** Since when it was served, seconds since the epoch: later than its Date, which follows the uploads. */
  readonly servedSeconds: number;
  readonly isCurrent: boolean;
  /** The names under which it is kept for ever, and is at `snapshots/NAME/` too. */
  readonly pins: readonly string[];
}

/** What looking again has brought, once it is servable. */
export interface PingOutcome {
  /** The publications of the suites below the path, now current. */
  readonly publications: readonly PublicationSummary[];
  /** Package files that are new or have new bytes. */
  readonly added: readonly TreePath[];
  readonly removed: readonly TreePath[];
  /** Every file at or below the pinged path that is rejected now; where there are many, what was judged last. */
  readonly rejected: readonly RejectedFile[];
  /** Everything at or below the pinged path that waits. */
  readonly pending: readonly PendingFile[];
  /** What the operator should know of the suites below the path, for people. */
  readonly notices: readonly string[];
}

/** What several looks have brought together. A suite that several of them tell of is told of once. */
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

/** For the page and for readiness. */
export interface RepositoryStatus {
  readonly suites: readonly SuiteStatus[];
  /** The suites with a slash in their names that are configured, also those that have nothing yet. */
  readonly suitesWithSlash?: readonly Suite[];
  /** Where there are many, some thousands of them. */
  readonly rejected: readonly RejectedFile[];
  /** How many more are rejected. */
  readonly untoldRejections?: number;
  readonly pending: readonly PendingFile[];
  /** What the operator should know of the tree, for people. */
  readonly notices: readonly string[];
  /** Why this repository can't serve now, for people; undefined when it can. */
  readonly notReady: string | undefined;
  /** The last failure of looking at the tree, until one succeeds; undefined when all is well. */
  readonly lastError: string | undefined;
}

export interface SuiteStatus extends PublicationSummary {
  /** As Release says it; undefined where it has none. */
  readonly codename?: string;
  readonly components: readonly string[];
  readonly architectures: readonly string[];
  readonly binaryPackages: number;
  readonly sourcePackages: number;
}

/** The keys that sign a repository, public as they are: more than one while one takes another's place. */
export interface PublicKey {
  /** All of them in one block. */
  readonly armored: string;
  /** The same without the armour. */
  readonly binary: Uint8Array;
  /** 40 upper-case hex digits each. */
  readonly fingerprints: readonly string[];
}

/** The files of a publication that a client which asks for plain names begins with. */
export type ReleaseFile = "Release" | "InRelease";

/**
 * Which publications a client began with, so that all that it fetches by plain names is of one publication.
 * @see mirror-sessions.ts for how long, and how clients are told apart
 */
export interface ClientSession {
  /**
   * A client fetches what it begins with.
   * @param suiteKey names the suite among all of the server
   * @param currentId of the suite's current publication
   * @returns the id of the publication to answer from: the current one, but for the second file of a pair
   */
  begin(suiteKey: string, file: ReleaseFile, currentId: string): string;
  /** The id of the publication that a client began with; undefined: it did not, or too long ago. */
  continued(suiteKey: string): string | undefined;
}

/** What a repository has to know of the request that it finds something for. */
export interface RequestContext {
  /** Is looked at only where something has to be waited for: it costs more than a small reply. */
  readonly signal: AbortSignal;
  /** Undefined: plain names are those of the current publication. */
  readonly session?: ClientSession | undefined;
}

/** A repository as HTTP sees it. */
export interface ServedRepository {
  readonly name: RepositoryName;
  readonly key: PublicKey;
  /**
   * @param path below `/NAME/`, decoded once and normalised: `dists/…` or `pool/…`, without a leading slash
   * @returns undefined if there is no such thing: then and only then the reply is 404
   * @throws StorageUnavailable, NotSeenYet
   */
  find(path: string, context: RequestContext): Promise<Resource | undefined>;
  /**
   * Looks again at a directory or file and resolves when what changed is servable. Aborting stops the waiting, not the work.
   * @throws StorageUnavailable if the tree could not be read
   */
  ping(path: TreePath, signal: AbortSignal): Promise<PingOutcome>;
  status(): RepositoryStatus;
  /** Those of one suite side by side, the newest first. */
  snapshots(): Iterable<KeptPublication>;
}
