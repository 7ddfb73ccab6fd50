// One tree behind several gateways: the next is asked where one fails, and the one that answers is remembered.
import type { TreePath } from "../../base/names.ts";
import type { CheckOptions, Health, HealthCheck } from "../health.ts";
import type { ByteRange, FileRef, Node, Tree } from "../tree.ts";
import { StorageUnavailable } from "../tree.ts";

/** A stream that breaks after its first bytes fails; opened again (as `RetryingTree` does), it comes from the next gateway. */
export class FailoverTree implements Tree {
  readonly #gateways: GatewayOrder<Tree>;

  /** @param gateways at least one; all must hold the same tree */
  constructor(gateways: readonly [Tree, ...Tree[]]) {
    this.#gateways = new GatewayOrder(gateways);
  }

  look(path: TreePath, signal: AbortSignal): Promise<Node | undefined> {
    return this.#gateways.firstResponse((gateway) => gateway.look(path, signal), signal);
  }

  async *open(file: FileRef, range: ByteRange | undefined, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const failures = new Failures();
    for (const [index, gateway] of this.#gateways.ordered()) {
      const chunks = gateway.open(file, range, signal)[Symbol.asyncIterator]();
      let begun = false;
      try {
        for (;;) {
          const step = await chunks.next();
          if (step.done === true) return;
          if (!begun) this.#gateways.startWith(index);
          begun = true;
          yield step.value;
        }
      } catch (thrown) {
        signal.throwIfAborted();
        if (begun) {
          if (thrown instanceof StorageUnavailable) this.#gateways.startWith(index + 1);
          throw thrown;
        }
        failures.add(thrown);
      } finally {
        await chunks.return?.();
      }
    }
    throw failures.mostRelevant;
  }
}

/** Objects are checked by whichever gateway answers. */
export class FailoverHealthCheck implements HealthCheck {
  readonly #gateways: GatewayOrder<HealthCheck>;

  /** @param gateways at least one; all must reach the same grid */
  constructor(gateways: readonly [HealthCheck, ...HealthCheck[]]) {
    this.#gateways = new GatewayOrder(gateways);
  }

  check(object: FileRef, options: CheckOptions, signal: AbortSignal): Promise<Health> {
    return this.#gateways.firstResponse((gateway) => gateway.check(object, options, signal), signal);
  }
}

/** Gateways of which the one that answered last is asked first. */
class GatewayOrder<Gateway> {
  readonly #gateways: readonly Gateway[];
  #first = 0;

  constructor(gateways: readonly Gateway[]) {
    this.#gateways = gateways;
  }

  ordered(): readonly (readonly [index: number, gateway: Gateway])[] {
    const numbered = [...this.#gateways.entries()];
    return [...numbered.slice(this.#first), ...numbered.slice(0, this.#first)];
  }

  startWith(index: number): void {
    this.#first = index % this.#gateways.length;
  }

  async firstResponse<T>(request: (gateway: Gateway) => Promise<T>, signal: AbortSignal): Promise<T> {
    const failures = new Failures();
    for (const [index, gateway] of this.ordered()) {
      try {
        const response = await request(gateway);
        this.startWith(index);
        return response;
      } catch (thrown) {
        signal.throwIfAborted();
        failures.add(thrown);
      }
    }
    throw failures.mostRelevant;
  }
}

/** What all gateways said; a transient failure of any is worth another try. */
class Failures {
  mostRelevant: unknown;
  /** @throws what is not a gateway's failure */
  add(thrown: unknown): void {
    if (!(thrown instanceof StorageUnavailable)) throw thrown;
    if (!(this.mostRelevant instanceof StorageUnavailable && this.mostRelevant.transient)) this.mostRelevant = thrown;
  }
}
