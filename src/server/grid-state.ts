// The state of the grid of a repository: whether its gateways respond, and the result of the last check of all objects.
import type { TreeObserver } from "../observe/measured-tree.ts";
import type { HealthCounts, HealthObserver } from "../storage/health.ts";
import type { GridHealth } from "../web/data/repository-data.ts";

export class GridState {
  /** Whether the last request to each gateway succeeded, in the order of the configuration. */
  readonly #gateways: boolean[] = [];
  #lastCheck: (HealthCounts & { readonly endedSeconds: number }) | undefined;

  /** Returns an observer that also notes the outcomes of requests to the next gateway, in the order of the configuration. */
  nextGateway(observer: TreeObserver): TreeObserver {
    const at = this.#gateways.push(true) - 1;
    return {
      looked: (seconds) => {
        this.#gateways[at] = true;
        observer.looked(seconds);
      },
      read: (seconds, bytes) => {
        if (bytes > 0) this.#gateways[at] = true;
        observer.read(seconds, bytes);
      },
      failed: (operation, code) => {
        if (code === "storage/unavailable") this.#gateways[at] = false;
        observer.failed(operation, code);
      },
    };
  }

  /** Returns an observer that also notes the results of checks. */
  checks(observer: HealthObserver): HealthObserver {
    return {
      checked: (state) => observer.checked(state),
      ended: (counts, endedSeconds) => {
        this.#lastCheck = { ...counts, endedSeconds };
        observer.ended(counts, endedSeconds);
      },
      failed: () => observer.failed(),
    };
  }

  health(): GridHealth {
    return {
      gateways: this.#gateways.map((isReachable, at) => ({ number: at + 1, isReachable })),
      lastCheck: this.#lastCheck && {
        endedSeconds: this.#lastCheck.endedSeconds,
        healthy: this.#lastCheck.healthy,
        unhealthy: this.#lastCheck.unhealthy,
        lost: this.#lastCheck.lost,
        unchecked: this.#lastCheck.unchecked,
      },
    };
  }
}
