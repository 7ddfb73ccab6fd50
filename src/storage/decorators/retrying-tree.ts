// A tree that tries again what may succeed later, and takes broken streams up where they broke.

import { sleep } from "../../base/abort.ts";
import type { BackoffLimits } from "../../base/backoff.ts";
import { backoffMs, withJitter } from "../../base/backoff.ts";
import type { TreePath } from "../../base/names.ts";
import type { ByteRange, FileRef, Node, Tree } from "../tree.ts";
import { StorageUnavailable } from "../tree.ts";

export interface RetryPolicy extends BackoffLimits {
  /** In all, the first included; a stream that moves on starts counting anew. */
  readonly attempts: number;
  /** From 0 to below 1: spreads the delays, so that clients of one gateway do not come back together. */
  readonly random: () => number;
}

export const defaultRetryPolicy: RetryPolicy = {
  attempts: 4,
  firstDelayMs: 250,
  maxDelayMs: 5_000,
  random: Math.random,
};

/** Only what is transient is tried again. A stream is resumed only where its bytes have a content id: else they may have changed. */
export class RetryingTree implements Tree {
  readonly #tree: Tree;
  readonly #policy: RetryPolicy;

  constructor(tree: Tree, policy: RetryPolicy = defaultRetryPolicy) {
    this.#tree = tree;
    this.#policy = policy;
  }

  async look(path: TreePath, signal: AbortSignal): Promise<Node | undefined> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#tree.look(path, signal);
      } catch (thrown) {
        await this.#recover(thrown, attempt, signal);
      }
    }
  }

  async *open(file: FileRef, range: ByteRange | undefined, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const start = range?.start ?? 0;
    let sent = 0;
    for (let attempt = 1; ; attempt++) {
      const rest = sent === 0 ? range : { ...range, start: start + sent };
      const chunks = this.#tree.open(file, rest, signal)[Symbol.asyncIterator]();
      try {
        for (;;) {
          // Not `for await`: what the consumer throws at the yield is not the storage's fault.
          const step = await chunks.next().catch((thrown: unknown) => new Failure(thrown));
          if (step instanceof Failure) {
            if (sent > 0 && file.content === undefined) throw step.thrown;
            await this.#recover(step.thrown, attempt, signal);
            break;
          }
          if (step.done === true) return;
          sent += step.value.length;
          attempt = 0;
          yield step.value;
        }
      } finally {
        await chunks.return?.();
      }
    }
  }

  /** Waits for the next attempt's time. @throws what was thrown, if there is to be none */
  async #recover(thrown: unknown, attempt: number, signal: AbortSignal): Promise<void> {
    const isLast = attempt >= this.#policy.attempts;
    await waitForRetry(thrown, { failures: Math.max(1, attempt), isLast }, this.#policy, signal);
  }
}

/**
 * Waits before the next attempt at what a storage failed at.
 * @throws what was thrown, if it is not transient or came in the last attempt; signal.reason
 */
export async function waitForRetry(
  thrown: unknown,
  { failures, isLast }: { readonly failures: number; readonly isLast: boolean },
  policy: RetryPolicy,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  if (!(thrown instanceof StorageUnavailable) || !thrown.transient || isLast) throw thrown;
  await sleep(withJitter(backoffMs(failures, policy), policy.random()), signal);
}

class Failure {
  readonly thrown: unknown;
  constructor(thrown: unknown) {
    this.thrown = thrown;
  }
}
