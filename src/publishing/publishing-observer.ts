// What publishing tells of itself while it works, for whoever counts: the port that metrics implement.
import type { ErrorCode } from "../base/error-codes.ts";
import type { Suite } from "../base/names.ts";
import type { RejectCode } from "../catalog/inspection/inspection.ts";

/** "unknown": the bytes could not be read or judged, and will be asked again. */
export type AuditVerdict = "confirmed" | "refuted" | "unknown";

/** Told of what happens to one repository. No call throws or waits. */
export interface PublishingObserver {
  /** A file's inspection was needed and came from its directory entry, the ledger, or a read of its bytes. */
  inspected(source: "entry" | "store" | "read"): void;
  /** What an entry's metadata says was not believed: it can't be read so, or the bytes tell something else. */
  metadataRejected(reason: "malformed" | "mismatch"): void;
  /** An uploader's word was held against the bytes. */
  audited(verdict: AuditVerdict): void;
  /** A file came to be rejected: told once per file and change, not at every look. */
  rejected(code: RejectCode): void;
  /** So many of a suite's source packages wait for files now. */
  pending(suite: Suite, sources: number): void;
  /** So many of a suite's files are being inspected, or wait for that. Told where that takes longer than usual. */
  inspecting(suite: Suite, files: number): void;
  /** A publication of an earlier run is served again; what the tree holds is not known yet. */
  restored(suite: Suite): void;
  /** A new publication became the current one. */
  published(suite: Suite, durationSeconds: number): void;
  /** The tree was looked at, and the current publication holds what is there: its age starts again from zero. */
  confirmed(suite: Suite): void;
  /** A suite has gone from the tree and is served no more. */
  withdrawn(suite: Suite): void;
  /** A look or a rebuild failed and the last publication stays; `code` as in RepoError, "unknown" for others. */
  refreshFailed(code: ErrorCode): void;
  /** What a maker makes in the background is published, this long after the packages that it is about. */
  deferredGenerated(suite: Suite, maker: string, seconds: number): void;
  /** What a ping announced is servable, this long after the ping came in. */
  pingLive(seconds: number): void;
}

export const silentPublishingObserver: PublishingObserver = {
  inspected() {},
  metadataRejected() {},
  audited() {},
  rejected() {},
  pending() {},
  inspecting() {},
  restored() {},
  published() {},
  confirmed() {},
  withdrawn() {},
  refreshFailed() {},
  deferredGenerated() {},
  pingLive() {},
};
