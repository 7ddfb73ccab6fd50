// Inspections by content, on disk: what was read once is never read again.
import type { Database } from "lmdb";
import type { DigestAlgorithm } from "../debian/digests.ts";
import type { Inspection, RejectCode, Rejection } from "./inspection.ts";
import { WriteBehind } from "./write-behind.ts";

/** Names what a record means: a change of the inspection's rules or shape gets a new one, and old records are ignored. */
const schema = "1";

/** Rejections that another machine, limit or moment may not share: they are told, but not kept, and belie nobody. */
const passingRejections: ReadonlySet<RejectCode> = new Set(["unsupported-compression", "unreadable"]);

export const isPassing = (inspection: Inspection): boolean =>
  inspection.kind === "rejected" && passingRejections.has(inspection.code);

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

/** Inspections by the key of a content id. Records never grow old: equal ids, equal bytes. */
export class Ledger {
  readonly #kept: WriteBehind<Kept>;
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
    this.#kept = new WriteBehind(records);
    this.#limits = limits;
    this.#algorithms = algorithms;
  }

  /** @returns undefined if these bytes were never inspected, or not for all digests that are asked now */
  get(contentKey: string): Inspection | undefined {
    const kept = this.#kept.get(`${schema}/${contentKey}`);
    if (kept === undefined || "doubted" in kept) return undefined;
    if ("rejection" in kept) return kept.limits === this.#limits ? kept.rejection : undefined;
    return this.#algorithms.every((algorithm) => kept.digests[algorithm] !== undefined) ? kept : undefined;
  }

  /**
   * Keeps an inspection: `get` has it from now on, and the disk soon. Resolves when the next may come. One that is lost
   * to a kill or a full disk is made again.
   */
  async put(contentKey: string, inspection: Inspection): Promise<void> {
    if (isPassing(inspection)) return;
    const kept = inspection.kind === "rejected" ? { rejection: inspection, limits: this.#limits } : inspection;
    await this.#kept.put(`${schema}/${contentKey}`, kept);
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
