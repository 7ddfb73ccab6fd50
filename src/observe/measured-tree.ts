// A decorator that measures the listings and reads of a tree.
import type { Clock } from "../base/clock.ts";
import type { ErrorCode } from "../base/error-codes.ts";
import { codeOf } from "../base/errors.ts";
import type { TreePath } from "../base/names.ts";
import type { LocalFile } from "../storage/local-file.ts";
import type { ByteRange, FileRef, Node, Tree } from "../storage/tree.ts";

/** Receives each call of `look` and each read. A read that its consumer ends early is not a failure. */
export interface TreeObserver {
  looked(durationSeconds: number): void;
  /** @param waitedSeconds the time spent waiting for the storage, without the time of the consumer */
  read(waitedSeconds: number, bytes: number): void;
  /** @param code the code of a RepoError, "unknown" for other errors */
  failed(operation: "look" | "read", code: ErrorCode): void;
}

/** Reports the duration of all operations to an observer. */
export class MeasuredTree implements Tree {
  readonly #tree: Tree;
  readonly #observer: TreeObserver;
  readonly #clock: Clock;

  constructor(tree: Tree, observer: TreeObserver, clock: Clock) {
    this.#tree = tree;
    this.#observer = observer;
    this.#clock = clock;
  }

  async look(path: TreePath, signal: AbortSignal): Promise<Node | undefined> {
    const startedMs = this.#clock();
    try {
      const node = await this.#tree.look(path, signal);
      this.#observer.looked(this.#secondsSince(startedMs));
      return node;
    } catch (thrown) {
      this.#reportFailure("look", thrown, signal);
      throw thrown;
    }
  }

  async *open(file: FileRef, range: ByteRange | undefined, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    let waitedSeconds = 0;
    let bytes = 0;
    let waitingSinceMs = this.#clock();
    try {
      for await (const chunk of this.#tree.open(file, range, signal)) {
        waitedSeconds += this.#secondsSince(waitingSinceMs);
        bytes += chunk.length;
        yield chunk;
        waitingSinceMs = this.#clock();
      }
      waitedSeconds += this.#secondsSince(waitingSinceMs);
    } catch (thrown) {
      this.#reportFailure("read", thrown, signal);
      throw thrown;
    } finally {
      this.#observer.read(waitedSeconds, bytes);
    }
  }

  localFile(file: FileRef): LocalFile | undefined {
    const local = this.#tree.localFile?.(file);
    return local && { ...local, onRead: (seconds, bytes) => this.#observer.read(seconds, bytes) };
  }

  #reportFailure(operation: "look" | "read", thrown: unknown, signal: AbortSignal): void {
    if (signal.aborted) return;
    this.#observer.failed(operation, codeOf(thrown));
  }

  #secondsSince(startedMs: number): number {
    return Math.max(0, this.#clock() - startedMs) / 1000;
  }
}
