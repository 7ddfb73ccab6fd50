// A tree that is asked for only so much at once, and not for ever.
import { onAbort } from "../../base/abort.ts";
import type { TreePath } from "../../base/names.ts";
import { Semaphore } from "../../base/semaphore.ts";
import type { ByteRange, FileRef, Node, Tree } from "../tree.ts";
import { StorageUnavailable } from "../tree.ts";

export interface TreeLimits {
  readonly maxLooks: number;
  /** Streams open at once. A stream keeps its slot until it ends, so whoever reads slowly should read from a cache. */
  readonly maxOpens: number;
  /** For one look, from when its turn has come. */
  readonly lookTimeoutMs: number;
}

export const defaultTreeLimits: TreeLimits = { maxLooks: 8, maxOpens: 16, lookTimeoutMs: 180_000 };

/** Who shares the looks, each its own; undefined: nobody in particular. */
export type FairShareKeyOf = (path: TreePath) => string | undefined;

/** First come, first served, but for those whose looks are many already; an aborted wait gives its place up. */
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
    const late = new AbortController();
    const forget = onAbort(signal, () => late.abort(signal.reason));
    const timer = setTimeout(() => {
      const why = `not listed within ${this.#lookTimeoutMs / 1000} s`;
      late.abort(new StorageUnavailable(path, why, { transient: true }));
    }, this.#lookTimeoutMs);
    try {
      signal.throwIfAborted();
      return await this.#tree.look(path, late.signal);
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
