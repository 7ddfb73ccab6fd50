// Limits the number of concurrent operations on a tree, and the duration of listings.
import { onAbort } from "../../base/abort.ts";
import type { TreePath } from "../../base/names.ts";
import { Semaphore } from "../../base/semaphore.ts";
import type { ByteRange, FileRef, Node, Tree } from "../tree.ts";
import { StorageUnavailable } from "../tree.ts";

/** Limits of a tree. */
export interface TreeLimits {
  /** Concurrent calls of `look`. */
  readonly maxLooks: number;
  /** Open streams. A stream counts until it ends, so slow consumers should read from a cache. */
  readonly maxOpens: number;
  /** For one call of `look`, without the time in the queue. */
  readonly lookTimeoutMs: number;
}

export const defaultTreeLimits: TreeLimits = { maxLooks: 8, maxOpens: 16, lookTimeoutMs: 180_000 };

/** Returns a key for each path. Calls of `look` are shared fairly between keys; undefined for no particular key. */
export type FairShareKeyOf = (path: TreePath) => string | undefined;

/** Queues operations: first come, first served, except that keys with many running calls of `look` wait longer. */
export class LimitedTree implements Tree {
  readonly #tree: Tree;
  readonly #looks: Semaphore;
  readonly #opens: Semaphore;
  readonly #lookTimeoutMs: number;
  readonly #fairShareKeyOf: FairShareKeyOf;

  constructor(tree: Tree, limits: TreeLimits = defaultTreeLimits, fairShareKeyOf: FairShareKeyOf = () => undefined) {
    this.#tree = tree;
    this.#fairShareKeyOf = fairShareKeyOf;
    this.#looks = new Semaphore(limits.maxLooks);
    this.#opens = new Semaphore(limits.maxOpens);
    this.#lookTimeoutMs = limits.lookTimeoutMs;
  }

  async look(path: TreePath, signal: AbortSignal): Promise<Node | undefined> {
    const release = await this.#looks.take(signal, this.#fairShareKeyOf(path));
    const timeout = new AbortController();
    const forget = onAbort(signal, () => timeout.abort(signal.reason));
    const timer = setTimeout(() => {
      const why = `not listed within ${this.#lookTimeoutMs / 1000} s`;
      timeout.abort(new StorageUnavailable(path, why, { transient: true }));
    }, this.#lookTimeoutMs);
    try {
      signal.throwIfAborted();
      return await this.#tree.look(path, timeout.signal);
    } finally {
      clearTimeout(timer);
      forget();
      release();
    }
  }

  async *open(file: FileRef, range: ByteRange | undefined, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const release = await this.#opens.take(signal);
    try {
      yield* this.#tree.open(file, range, signal);
    } finally {
      release();
    }
  }
}
