// A decorator that retries failed operations, and resumes broken streams.

import { sleep } from "../../base/abort.ts";
import type { BackoffLimits } from "../../base/backoff.ts";
import { backoffMs, withJitter } from "../../base/backoff.ts";
import type { TreePath } from "../../base/names.ts";
import type { ByteRange, FileRef, Node, Tree } from "../tree.ts";
import { StorageUnavailable } from "../tree.ts";

/** When and how often operations are retried. */
export interface RetryPolicy extends BackoffLimits {
  /** The number of attempts, including the first. For a stream, each received chunk resets the count. */
  readonly attempts: number;
  /** Returns a number from 0 to below 1, which spreads the retries of several clients of one gateway. */
  readonly random: () => number;
}

export const defaultRetryPolicy: RetryPolicy = {
  attempts: 4,
  firstDelayMs: 250,
  maxDelayMs: 5_000,
  random: Math.random,
};

/**
 * Retries transient failures. A stream is resumed only if the file has a content id: the bytes of others may have
 * changed.
 */
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
    let sentBytes = 0;
    for (let attempt = 1; ; attempt++) {
      const rest = sentBytes === 0 ? range : { ...range, start: start + sentBytes };
      const chunks = this.#tree.open(file, rest, signal)[Symbol.asyncIterator]();
      try {
        for (;;) {
          // Not `for await`: errors that the consumer throws at the yield are not failures of the storage.
          const step = await chunks.next().catch((thrown: unknown) => new Failure(thrown));
          if (step instanceof Failure) {
            if (sentBytes > 0 && file.content === undefined) throw step.thrown;
            await this.#recover(step.thrown, attempt, signal);
            break;
          }
          if (step.done === true) return;
          sentBytes += step.value.length;
          attempt = 0;
          yield step.value;
        }
      } finally {
        await chunks.return?.();
      }
    }
  }

  /** Waits before the next attempt. @throws the failure if it is not retried */
  async #recover(thrown: unknown, attempt: number, signal: AbortSignal): Promise<void> {
    const isLast = attempt >= this.#policy.attempts;
    await waitForRetry(thrown, { failures: Math.max(1, attempt), isLast }, this.#policy, signal);
  }
}

/**
 * Waits before the next attempt of a failed operation.
 * @throws the failure, if it is not transient or it was the last attempt; signal.reason
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
