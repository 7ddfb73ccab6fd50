// Inspections by content, on disk: what was read once is never read again.
import type { Database } from "lmdb";
import { written } from "../base/state.ts";
import type { DigestAlgorithm } from "../debian/digests.ts";
import type { Inspection, RejectCode, Rejection } from "./inspection.ts";

/** Names what a record means: a change of the inspection's rules or shape gets a new one, and old records are ignored. */
const schema = "1";

/** Rejections that another machine, limit or moment may not share: they are told, but not kept. */
export const passingRejections: ReadonlySet<RejectCode> = new Set(["unsupported-compression", "unreadable"]);

/** What the ledger keeps of a rejection: it holds only for the limits under which it was found. */
interface KeptRejection {
  readonly rejection: Rejection;
  readonly limits: string;
}
/** Stands for a content of which something untrue was said. */
interface Doubt {
  readonly doubted: true;
}
type Kept = Exclude<Inspection, Rejection> | KeptRejection | Doubt;

/** How many inspections may wait to be written: a bound on memory. */
const maxUnwritten = 1024;

/** Inspections by the key of a content id. Records never grow old: equal ids, equal bytes. */
export class Ledger {
  #begun: Promise<void> = Promise.resolve();
  #unwritten = 0;
  readonly #records: Database<Kept, string>;
  readonly #limits: string;
  readonly #algorithms: readonly DigestAlgorithm[];

  /**
   * @param records a database of its own
   * @param limits a fingerprint of the inspection's limits
   * @param algorithms the digests that a record must have to be of use
   */
  constructor(records: Database<Kept, string>, limits: string, algorithms: readonly DigestAlgorithm[]) {
    this.#records = records;
    this.#limits = limits;
    this.#algorithms = algorithms;
  }

  /** @returns undefined if these bytes were never inspected, or not for all digests that are asked now */
  get(contentKey: string): Inspection | undefined {
    const kept = this.#records.get(`${schema}/${contentKey}`);
    if (kept === undefined || "doubted" in kept) return undefined;
    if ("rejection" in kept) return kept.limits === this.#limits ? kept.rejection : undefined;
    return this.#algorithms.every((algorithm) => kept.digests[algorithm] !== undefined) ? kept : undefined;
  }

  /** Begins to keep an inspection; resolves when the next may come. `written` tells when it can be read back. */
  async put(contentKey: string, inspection: Inspection): Promise<void> {
    if (inspection.kind === "rejected" && passingRejections.has(inspection.code)) return;
    const kept = inspection.kind === "rejected" ? { rejection: inspection, limits: this.#limits } : inspection;
    this.#begun = written(() => this.#records.put(`${schema}/${contentKey}`, kept)).then(() => undefined);
    this.#begun.catch(() => undefined);
    this.#unwritten = (this.#unwritten + 1) % maxUnwritten;
    if (this.#unwritten === 0) await this.#begun;
  }

  /**
   * Resolves when all that was put can be read back. Waiting for each by itself would wait for the disk each time.
   * @throws StateUnwritable
   */
  async written(): Promise<void> {
    // Writes are committed in their order, so that the last one stands for all.
    await this.#begun;
  }

  /** Remembers that something untrue is known of this content, so that its bytes must be asked. */
  async doubt(contentKey: string): Promise<void> {
    await this.#records.put(`${schema}/doubt/${contentKey}`, { doubted: true });
  }

  /** Takes a doubt back: the bytes were asked. */
  async trust(contentKey: string): Promise<void> {
    await this.#records.remove(`${schema}/doubt/${contentKey}`);
  }

  isDoubted(contentKey: string): boolean {
    return this.#records.doesExist(`${schema}/doubt/${contentKey}`);
  }
}
