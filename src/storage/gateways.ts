// One tree behind several gateways: the next is asked where one fails, and the one that answers is remembered.
import type { TreePath } from "../base/names.ts";
import type { ByteRange, FileRef, Node, Tree } from "./tree.ts";
import { StorageUnavailable } from "./tree.ts";

/** A stream that breaks after its first bytes fails; opened again (as `RetryingTree` does), it comes from the next gateway. */
export class GatewaysTree implements Tree {
  readonly #gateways: readonly Tree[];
  #healthy = 0;

  /** @param gateways at least one; all must hold the same tree */
  constructor(gateways: readonly [Tree, ...Tree[]]) {
    this.#gateways = gateways;
  }

  async look(path: TreePath, signal: AbortSignal): Promise<Node | undefined> {
    const failures = new Failures();
    for (const [index, gateway] of this.#inTurn()) {
      try {
        const node = await gateway.look(path, signal);
        this.#healthy = index;
        return node;
      } catch (thrown) {
        signal.throwIfAborted();
        failures.add(thrown);
      }
    }
    throw failures.worthTelling;
  }

  async *open(file: FileRef, range: ByteRange | undefined, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const failures = new Failures();
    for (const [index, gateway] of this.#inTurn()) {
      const chunks = gateway.open(file, range, signal)[Symbol.asyncIterator]();
      let begun = false;
      try {
        for (;;) {
          const step = await chunks.next();
          if (step.done === true) return;
          if (!begun) this.#healthy = index;
          begun = true;
          yield step.value;
        }
      } catch (thrown) {
        signal.throwIfAborted();
        if (begun) {
          if (thrown instanceof StorageUnavailable) this.#healthy = (index + 1) % this.#gateways.length;
          throw thrown;
        }
        failures.add(thrown);
      } finally {
        await chunks.return?.();
      }
    }
    throw failures.worthTelling;
  }

  /** All gateways, the one that answered last first. */
  #inTurn(): readonly (readonly [index: number, gateway: Tree])[] {
    const numbered = [...this.#gateways.entries()];
    return [...numbered.slice(this.#healthy), ...numbered.slice(0, this.#healthy)];
  }
}

/** What all gateways said; a transient failure of any is worth another try. */
class Failures {
  worthTelling: unknown;
  /** @throws what is not a gateway's failure */
  add(thrown: unknown): void {
    if (!(thrown instanceof StorageUnavailable)) throw thrown;
    if (!(this.worthTelling instanceof StorageUnavailable && this.worthTelling.transient)) this.worthTelling = thrown;
  }
}
