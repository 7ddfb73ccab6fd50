// Brings the inspection of a file, reading each content at most once: from the ledger, or by one pass over its bytes.

import type { LimitFunction } from "p-limit";
import pLimit from "p-limit";
import type { TreePath } from "../base/names.ts";
import type { FileEntry, Tree } from "../storage/tree.ts";
import { ContentGone, StorageUnavailable } from "../storage/tree.ts";
import type { Inspection, PackageKind } from "./inspection.ts";
import type { Ledger } from "./ledger.ts";

/** Runs one inspection over a stream of bytes; a bad package is a rejection, a failing stream throws. */
export interface ContentInspector {
  inspect(kind: PackageKind, content: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<Inspection>;
}

/** Told of each inspection that was needed, by where it came from. */
export interface ExaminerObserver {
  inspected(source: "entry" | "ledger" | "read"): void;
}

/** An inspection and the name under which the ledger has it. */
export interface Examined {
  readonly record: string;
  readonly inspection: Inspection;
}

/** How many files are read at the same time to be inspected. */
const defaultConcurrentReads = 8;

export class Examiner {
  readonly #tree: Tree;
  readonly #ledger: Ledger;
  readonly #inspector: ContentInspector;
  readonly #observer: ExaminerObserver;
  readonly #reading: LimitFunction;
  readonly #underWay = new Map<string, Promise<Examined>>();

  constructor(parts: {
    readonly tree: Tree;
    readonly ledger: Ledger;
    readonly inspector: ContentInspector;
    readonly observer: ExaminerObserver;
    readonly concurrentReads?: number;
  }) {
    this.#tree = parts.tree;
    this.#ledger = parts.ledger;
    this.#inspector = parts.inspector;
    this.#observer = parts.observer;
    this.#reading = pLimit(parts.concurrentReads ?? defaultConcurrentReads);
  }

  /**
   * Inspects a file as what its name announces. A file that can't be read now is a rejection too ("unreadable"), which
   * no ledger keeps: one lost file must not hold up a suite.
   */
  async examine(path: TreePath, entry: FileEntry, kind: PackageKind, signal: AbortSignal): Promise<Examined> {
    if (entry.content === undefined) return this.#reading(() => this.#read(path, entry, kind, undefined, signal));
    const record = `${kind}/${entry.content.key}`;
    const known = this.#ledger.get(record);
    if (known !== undefined) {
      this.#observer.inspected("ledger");
      return { record, inspection: known };
    }
    // Equal content at two paths is read once.
    const underWay = this.#underWay.get(record);
    if (underWay !== undefined) return underWay;
    const reading = this.#reading(() => this.#read(path, entry, kind, record, signal)).finally(() =>
      this.#underWay.delete(record),
    );
    this.#underWay.set(record, reading);
    return reading;
  }

  /** The inspection behind a record, read anew should the ledger have lost it. */
  async recall(
    path: TreePath,
    entry: FileEntry,
    kind: PackageKind,
    record: string,
    signal: AbortSignal,
  ): Promise<Inspection> {
    return this.#ledger.get(record) ?? (await this.examine(path, entry, kind, signal)).inspection;
  }

  /** Makes the next examination of this record read the bytes again. */
  forget(record: string): Promise<void> {
    return this.#ledger.forget(record);
  }

  async #read(
    path: TreePath,
    entry: FileEntry,
    kind: PackageKind,
    record: string | undefined,
    signal: AbortSignal,
  ): Promise<Examined> {
    signal.throwIfAborted();
    let inspection: Inspection;
    try {
      inspection = await this.#inspector.inspect(
        kind,
        this.#tree.open({ path, content: entry.content }, undefined, signal),
        signal,
      );
    } catch (thrown) {
      if (signal.aborted || !(thrown instanceof StorageUnavailable || thrown instanceof ContentGone)) throw thrown;
      inspection = { kind: "rejected", code: "unreadable", text: thrown.message };
    }
    this.#observer.inspected("read");
    const name = record ?? `${kind}/mutable/${inspection.kind === "rejected" ? path : inspection.digests.sha256}`;
    await this.#ledger.put(name, inspection);
    return { record: name, inspection };
  }
}
