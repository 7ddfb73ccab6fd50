// Failover between several gateways to one tree. The last gateway that responded is tried first.
import type { TreePath } from "../../base/names.ts";
import type { CheckOptions, Health, HealthCheck } from "../health.ts";
import type { ByteRange, FileRef, Node, Tree } from "../tree.ts";
import { StorageUnavailable } from "../tree.ts";

/**
 * Tries the gateways in order. A stream that fails after its first bytes is not continued; if it is opened again (as
 * `RetryingTree` does), the next gateway is used.
 */
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
      let hasStarted = false;
      try {
        for (;;) {
          const step = await chunks.next();
          if (step.done === true) return;
          if (!hasStarted) this.#gateways.startWith(index);
          hasStarted = true;
          yield step.value;
        }
      } catch (thrown) {
        signal.throwIfAborted();
        if (hasStarted) {
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

/** Checks objects with the first gateway that responds. */
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

/** Gateways, ordered so that the last one that responded comes first. */
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

/** The failures of all gateways. A transient one is reported in preference, because then a retry may succeed. */
class Failures {
  mostRelevant: unknown;
  /** @throws errors other than StorageUnavailable */
  add(thrown: unknown): void {
    if (!(thrown instanceof StorageUnavailable)) throw thrown;
    if (!(this.mostRelevant instanceof StorageUnavailable && this.mostRelevant.transient)) this.mostRelevant = thrown;
  }
}
