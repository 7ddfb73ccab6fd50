// What the servers of one tree share: each file is read by one of them, and the others take over its inspection.
import type { Inspection } from "./inspection/inspection.ts";

/** A file whose inspection this server does not have. */
export interface WantedInspection {
  /** Identifies the bytes, and everything that an inspection depends on: see `InspectionStore.sharedKey`. */
  readonly key: string;
  /** Whether another server's inspection has all that is needed. */
  readonly isEnough: (found: Inspection) => boolean;
  /**
   * Reads the file. It calls `begin` when nothing else stands in the way of reading.
   * @returns undefined if `begin` returns false: another server reads the file or has read it
   */
  readonly read: (begin: () => Promise<boolean>) => Promise<Inspection | undefined>;
}

/** Inspections that several servers share. Without a connection to the others, no server reads. */
export interface SharedInspections {
  /**
   * Takes over the inspection of another server, waits for one that reads the file now, or else reads it. Waits as long
   * as the others cannot be asked.
   * @throws errors of `read`; signal.reason when aborted
   */
  once(wanted: WantedInspection, signal: AbortSignal): Promise<Inspection>;
  /**
   * Tells the other servers, in the background, that metadata or stored data about a content is wrong.
   * @param mark identifies this message
   * @param wrongKeys the keys of inspections that may be wrong, so that nobody takes them over any more
   */
  markUntrusted(contentKey: string, mark: string, wrongKeys: readonly string[]): void;
}

/** The message that something about a content is wrong, so that its bytes must be inspected. */
export interface UntrustedMark {
  readonly contentKey: string;
  /** Identifies the message: each is taken over once. */
  readonly mark: string;
}
