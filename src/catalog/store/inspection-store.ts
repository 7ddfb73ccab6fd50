// Inspections by content, on disk: what was read once is never read again.
import type { Database } from "lmdb";
import { yieldToEventLoop } from "../../base/yield-to-event-loop.ts";
import type { DigestAlgorithm, Digests } from "../../debian/digests.ts";
import { digestAlgorithms } from "../../debian/digests.ts";
import type { Finding } from "../files/finding.ts";
import { findingOf, leanFinding } from "../files/finding.ts";
import type { Inspection, RejectCode } from "../inspection/inspection.ts";
import { WriteBehind } from "./write-behind.ts";

/** Names what a record means: a change of the rules or shape of inspections or findings gets a new one. */
const schema = "4";

/** Rejections that another machine, limit or moment may not share: they are told, but not kept, and belie nobody. */
const temporaryRejections: ReadonlySet<RejectCode> = new Set(["unsupported-compression", "unreadable"]);

export const isTemporary = (found: Inspection | Finding): boolean =>
  found.kind === "rejected" && temporaryRejections.has(found.code);

/** The first line of a record, in JSON: all that a restart asks for, and a sixth of the record. */
interface Summary {
  readonly finding: Finding;
  /** Under what the finding holds: the limits of a rejection, the digests of all others. */
  readonly under: string;
}

const endOfLine = 0x0a;

/**
 * Inspections by the key of a content id. Records never grow old: equal ids, equal bytes. A record has two lines, its
 * finding and the whole, so that whoever asks for the one does not read the other.
 */
export class InspectionStore {
  readonly #written: WriteBehind;
  readonly #records: Database<Buffer, string>;
  readonly #limits: string;
  readonly #algorithms: readonly DigestAlgorithm[];
  readonly #yieldNow = yieldToEventLoop();
  #lastTurn = Promise.resolve();

  /**
   * @param records a database of its own, of bytes as they are
   * @param limits a fingerprint of the inspection's limits
   * @param algorithms the digests that a record must have to be of use, and that findings tell
   */
  constructor(records: Database<Buffer, string>, limits: string, algorithms: readonly DigestAlgorithm[]) {
    this.#records = records;
    this.#written = new WriteBehind(records);
    this.#limits = limits;
    this.#algorithms = algorithms;
  }

  /** @returns undefined if these bytes were never inspected, or not for all digests that are asked now */
  get(contentKey: string): Inspection | undefined {
    const record = this.#written.getTemporary(`${schema}/${contentKey}`);
    return record && this.#inspectionIn(record);
  }

  /** What memory keeps of an inspection; undefined where `get` is. */
  finding(contentKey: string): Finding | undefined {
    const record = this.#written.getTemporary(`${schema}/${contentKey}`);
    if (record === undefined) return undefined;
    const { finding, under } = summaryOf(record);
    if (under === this.#conditionsOf(finding)) return leanFinding(finding);
    const inspection = this.#inspectionIn(record);
    return inspection && findingOf(this.#withRequestedDigests(inspection));
  }

  /**
   * Keeps an inspection: `get` has it from now on, and the disk soon. Resolves when the next may come. One that is lost
   * to a kill or a full disk is made again.
   * @returns its finding
   */
  async put(contentKey: string, inspection: Inspection): Promise<Finding> {
    // One after the other: long ones that are inspected at the same time would otherwise be written out in one turn.
    const turn = this.#lastTurn.then(this.#yieldNow);
    this.#lastTurn = turn;
    await turn;
    const finding = findingOf(this.#withRequestedDigests(inspection));
    if (isTemporary(finding)) return finding;
    const brief: Summary = { finding, under: this.#conditionsOf(finding) };
    const record = Buffer.from(`${JSON.stringify(brief)}\n${JSON.stringify(inspection)}`);
    await this.#written.put(`${schema}/${contentKey}`, record);
    return finding;
  }

  /** Remembers that something untrue is known of this content, so that its bytes must be asked. */
  async markUntrusted(contentKey: string): Promise<void> {
    await this.#records.put(`${schema}/doubt/${contentKey}`, untrusted);
  }

  /** Takes a doubt back: the bytes were asked. */
  async clearUntrusted(contentKey: string): Promise<void> {
    await this.#records.remove(`${schema}/doubt/${contentKey}`);
  }

  isUntrusted(contentKey: string): boolean {
    return this.#records.doesExist(`${schema}/doubt/${contentKey}`);
  }

  #inspectionIn(record: Buffer): Inspection | undefined {
    const inspection = JSON.parse(record.toString("utf8", record.indexOf(endOfLine) + 1)) as Inspection;
    if (inspection.kind === "rejected") return summaryOf(record).under === this.#limits ? inspection : undefined;
    return this.#algorithms.every((algorithm) => inspection.digests[algorithm] !== undefined) ? inspection : undefined;
  }

  #conditionsOf(finding: Finding): string {
    return finding.kind === "rejected" ? this.#limits : this.#algorithms.join();
  }

  /** No more digests than are asked for: what an inspection tells must not depend on where it came from. */
  #withRequestedDigests(inspection: Inspection): Inspection {
    if (inspection.kind === "rejected") return inspection;
    const digests: { -readonly [Algorithm in keyof Digests]: Digests[Algorithm] } = {
      sha256: inspection.digests.sha256,
    };
    for (const algorithm of digestAlgorithms) {
      const digest = inspection.digests[algorithm];
      if (digest !== undefined && this.#algorithms.includes(algorithm)) digests[algorithm] = digest;
    }
    return { ...inspection, digests };
  }
}

/** Stands for a content of which something untrue was said. */
const untrusted = Buffer.from("doubted");

const summaryOf = (record: Buffer): Summary =>
  JSON.parse(record.toString("utf8", 0, record.indexOf(endOfLine))) as Summary;
