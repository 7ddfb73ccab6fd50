// Inspections on disk, by content: every content is read once.
import { hash } from "node:crypto";
import { crc32 } from "node:zlib";
import type { Database } from "lmdb";
import { written } from "../../base/state-errors.ts";
import { yieldToEventLoop } from "../../base/yield-to-event-loop.ts";
import type { DigestAlgorithm, Digests } from "../../debian/digests.ts";
import { digestAlgorithms } from "../../debian/digests.ts";
import type { Finding } from "../files/finding.ts";
import { findingOf, leanFinding } from "../files/finding.ts";
import type { Inspection, RejectCode } from "../inspection/inspection.ts";
import { WriteBehind } from "./write-behind.ts";

/** The version of the records. It changes with the rules and the format of inspections and findings. */
const schema = "4";

/** Rejections that depend on the machine or the moment. They are not stored, and cannot refute a claim. */
const temporaryRejections: ReadonlySet<RejectCode> = new Set(["unsupported-compression", "unreadable"]);

export const isTemporary = (found: Inspection | Finding): boolean =>
  found.kind === "rejected" && temporaryRejections.has(found.code);

/** The first line of a record, as JSON after its checksums. A restart reads this sixth of the record only. */
interface Summary {
  readonly finding: Finding;
  /** The conditions for which the finding is valid: limits for a rejection, otherwise digest algorithms. */
  readonly under: string;
}

/**
 * A record begins with the checksum of the rest of its first line, and then with the checksum of its second line: lmdb
 * does not notice bytes that a disk has changed. They are fields of the JSON object. Version 0.1.0 ignores them, and
 * wrote records without them.
 */
const ownField = '{"crc32":"';
const inspectionField = '","inspectionCrc32":"';
const checksumLength = 8;
const inspectionChecksumAt = ownField.length + checksumLength + inspectionField.length;

const endOfLine = 0x0a;

/**
 * Inspections by key (see inspection-keys.ts). Records never expire, because equal content ids mean equal bytes. A
 * record has two lines, the finding and the whole inspection, so that each can be parsed without the other.
 */
export class InspectionStore {
  readonly #written: WriteBehind;
  readonly #records: Database<Buffer, string>;
  readonly #limits: string;
  readonly #algorithms: readonly DigestAlgorithm[];
  /** A fingerprint of everything that an inspection depends on besides the bytes. */
  readonly #conditions: string;
  readonly #yieldNow = yieldToEventLoop();
  #lastPut = Promise.resolve();

  /**
   * @param records a separate database with binary values
   * @param limits a fingerprint of the limits of inspections
   * @param algorithms the digests that records must contain, and that findings have
   */
  constructor(records: Database<Buffer, string>, limits: string, algorithms: readonly DigestAlgorithm[]) {
    this.#records = records;
    this.#written = new WriteBehind(records);
    this.#limits = limits;
    this.#algorithms = algorithms;
    this.#conditions = hash("sha256", JSON.stringify([schema, limits, algorithms]), "base64url");
  }

  /**
   * The key under which servers share an inspection. Servers of other versions or with other limits or digests have
   * other keys.
   */
  sharedKey(contentKey: string): string {
    return `${this.#conditions}/${contentKey}`;
  }

  /** @returns undefined if there is no inspection, or it lacks digests that are required now */
  get(contentKey: string): Inspection | undefined {
    const record = this.#written.getTemporary(`${schema}/${contentKey}`);
    return record && unlessDamaged(() => this.#inspectionIn(record));
  }

  /** @returns the finding of an inspection; undefined if `get` returns undefined */
  finding(contentKey: string): Finding | undefined {
    const record = this.#written.getTemporary(`${schema}/${contentKey}`);
    return record && unlessDamaged(() => this.#findingIn(record));
  }

  /**
   * Stores an inspection. `get` returns it immediately; it is written to disk soon after. Inspections that are lost in
   * a crash or because of a full disk are made again. Await the result before the next call, to limit the memory in
   * use.
   * @returns the finding
   */
  async put(contentKey: string, inspection: Inspection): Promise<Finding> {
    // One at a time: serializing several long inspections in a row would block the event loop.
    const ready = this.#lastPut.then(this.#yieldNow);
    this.#lastPut = ready;
    await ready;
    const finding = findingOf(this.#withRequestedDigests(inspection));
    if (isTemporary(finding)) return finding;
    const brief: Summary = { finding, under: this.#conditionsOf(finding) };
    const record = recordOf(JSON.stringify(brief), JSON.stringify(inspection));
    await this.#written.put(`${schema}/${contentKey}`, record);
    return finding;
  }

  /** Records that stored data about this content is wrong, so that its bytes must be read again. */
  async markUntrusted(contentKey: string): Promise<void> {
    await written(() => this.#records.put(`${schema}/doubt/${contentKey}`, untrusted));
  }

  /** Reverts `markUntrusted` after the bytes were read. */
  async clearUntrusted(contentKey: string): Promise<void> {
    await written(() => this.#records.remove(`${schema}/doubt/${contentKey}`));
  }

  /** Whether `markUntrusted` was called for this content. */
  isUntrusted(contentKey: string): boolean {
    return this.#records.doesExist(`${schema}/doubt/${contentKey}`);
  }

  /** Whether any content is marked untrusted. */
  hasUntrusted(): boolean {
    // "0" is the character after "/".
    const [key] = this.#records.getKeys({ start: `${schema}/doubt/`, end: `${schema}/doubt0`, limit: 1 });
    return key !== undefined;
  }

  /** Returns the mark of another server that was last taken over for this content. */
  takenMark(contentKey: string): string | undefined {
    return this.#records.get(`${schema}/mark/${contentKey}`)?.toString();
  }

  /** Records that the mark of another server was taken over, so that the next start does not do it again. */
  async putTakenMark(contentKey: string, mark: string): Promise<void> {
    await written(() => this.#records.put(`${schema}/mark/${contentKey}`, Buffer.from(mark)));
  }

  #findingIn(record: Buffer): Finding | undefined {
    const { finding, under } = summaryOf(record);
    if (under === this.#conditionsOf(finding)) return leanFinding(finding);
    const inspection = this.#inspectionIn(record);
    return inspection && findingOf(this.#withRequestedDigests(inspection));
  }

  #inspectionIn(record: Buffer): Inspection | undefined {
    const line = record.subarray(record.indexOf(endOfLine) + 1);
    if (hasChecksums(record)) verify(line, record, inspectionChecksumAt);
    const inspection = JSON.parse(line.toString()) as Inspection;
    if (inspection.kind === "rejected") return summaryOf(record).under === this.#limits ? inspection : undefined;
    return this.#algorithms.every((algorithm) => inspection.digests[algorithm] !== undefined) ? inspection : undefined;
  }

  #conditionsOf(finding: Finding): string {
    return finding.kind === "rejected" ? this.#limits : this.#algorithms.join();
  }

  /** Drops digests that are not required, so that inspections are equal whatever their source is. */
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

/** A line of a record does not have its checksum. */
class DamagedRecord extends Error {}

/** A record that a disk has damaged counts as missing: the content is inspected again, and the record replaced. */
function unlessDamaged<Value>(read: () => Value): Value | undefined {
  try {
    return read();
  } catch (thrown) {
    if (thrown instanceof DamagedRecord || thrown instanceof SyntaxError || thrown instanceof TypeError)
      return undefined;
    throw thrown;
  }
}

/** The value for contents that are marked untrusted. */
const untrusted = Buffer.from("doubted");

/** Joins the two lines of a record, with their checksums. @param summary the JSON of a summary */
function recordOf(summary: string, inspection: string): Buffer {
  const rest = `${inspectionField}${checksumOf(inspection)}",${summary.slice(1)}`;
  return Buffer.from(`${ownField}${checksumOf(rest)}${rest}\n${inspection}`);
}

/** @throws DamagedRecord, SyntaxError */
function summaryOf(record: Buffer): Summary {
  const end = record.indexOf(endOfLine);
  const restAt = ownField.length + checksumLength;
  if (hasChecksums(record)) verify(record.subarray(restAt, end), record, ownField.length);
  return JSON.parse(record.toString("utf8", 0, end)) as Summary;
}

/** The first field of other records begins with another letter. */
const hasChecksums = (record: Buffer): boolean => record[letterAt] === ownField.charCodeAt(letterAt);
const letterAt = 2;

/** @param at the place of the checksum in the record @throws DamagedRecord */
function verify(bytes: Buffer, record: Buffer, at: number): void {
  const expected = Number.parseInt(record.toString("latin1", at, at + checksumLength), 16);
  if (expected !== crc32(bytes)) throw new DamagedRecord();
}

const checksumOf = (bytes: string | Uint8Array): string => crc32(bytes).toString(16).padStart(checksumLength, "0");
