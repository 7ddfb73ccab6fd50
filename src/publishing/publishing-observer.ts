// The interface through which publishing reports events to the metrics.
import type { ErrorCode } from "../base/error-codes.ts";
import type { Suite } from "../base/names.ts";
import type { InspectionSource } from "../catalog/examiner.ts";
import type { RejectCode } from "../catalog/inspection/inspection.ts";

/** "unknown": the bytes could not be read or inspected, so the claim will be audited again. */
export type AuditVerdict = "confirmed" | "refuted" | "unknown";

/** Receives the events of one repository. No method throws or blocks. */
export interface PublishingObserver {
  /**
   * An inspection was needed and came from the directory entry, the inspection store, another server, or the bytes of
   * the file.
   */
  inspected(source: InspectionSource): void;
  /** The metadata of an entry was rejected: it cannot be parsed, or differs from the bytes. */
  metadataRejected(reason: "malformed" | "mismatch"): void;
  /** A claim of an uploader was compared with the bytes. */
  audited(verdict: AuditVerdict): void;
  /** A file was rejected. Reported once for each change of the file, not by every survey. */
  rejected(code: RejectCode): void;
  /** The number of source packages of a suite that wait for files now. */
  pending(suite: Suite, sources: number): void;
  /** The number of files of a suite that are in inspection or wait for it. Reported if that takes longer than usual. */
  inspecting(suite: Suite, files: number): void;
  /** A publication of an earlier run is served again. The content of the tree is not known yet. */
  restored(suite: Suite): void;
  /** A new publication became the current one. */
  published(suite: Suite, durationSeconds: number): void;
  /** The tree was surveyed, and the current publication is still correct, so its age is zero again. */
  confirmed(suite: Suite): void;
  /** A suite is no longer in the tree and no longer served. */
  withdrawn(suite: Suite): void;
  /** An attempt to list the directory `dists`, with which every poll begins, succeeded or failed. */
  polled(isUp: boolean): void;
  /** The whole tree was surveyed without a failure. */
  surveyed(): void;
  /** A survey or a build failed, and the last publication stays. */
  refreshFailed(code: ErrorCode): void;
  /** Deferred files were published. @param seconds the time since the publication of their packages */
  deferredGenerated(suite: Suite, generator: string, seconds: number): void;
  /** The changes that a ping announced are published. @param seconds the time since the ping */
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
  polled() {},
  surveyed() {},
  refreshFailed() {},
  deferredGenerated() {},
  pingLive() {},
};
