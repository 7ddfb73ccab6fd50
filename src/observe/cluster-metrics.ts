// Prometheus metrics of the fleet, as this replica sees it. A server that is alone has none of them.
import type { Registry } from "prom-client";
import { Counter, Gauge } from "prom-client";

/** What a replica knows of its fleet. */
export interface ObservedFleet {
  /** Whether Valkey can be asked now. */
  readonly isConnected: boolean;
  /** How many commands and connections have failed. */
  readonly errors: number;
  /** How many replicas are alive, with this one. */
  readonly members: number;
  readonly repositories: Iterable<{
    readonly name: string;
    /** Whether this replica publishes it. */
    readonly isPublisher: boolean;
    readonly leaseChanges: number;
    /** How long the fleet has had a publication that this replica does not serve; 0 if there is none. */
    readonly lagSeconds: number;
  }>;
}

/** Creates the metrics. @returns a function to call with one that returns the present state, for each scrape */
export function clusterMetrics(registry: Registry): (fleet: () => ObservedFleet) => void {
  let watched: (() => ObservedFleet) | undefined;
  const gauge = (name: string, help: string, value: (fleet: ObservedFleet) => number): void => {
    new Gauge({
      name: `tahoe_apt_cluster_${name}`,
      help,
      // Otherwise prom-client would show 0 for a server that is alone.
      labelNames: [],
      registers: [registry],
      collect() {
        this.remove();
        if (watched !== undefined) this.set(value(watched()));
      },
    });
  };
  gauge("valkey_connected", "Whether this replica is connected with Valkey.", ({ isConnected }) => Number(isConnected));
  gauge("members", "Replicas that are alive, with this one.", ({ members }) => members);
  new Counter({
    name: "tahoe_apt_cluster_valkey_errors_total",
    help: "Failed commands to Valkey and failed connections.",
    registers: [registry],
    collect() {
      this.reset();
      if (watched !== undefined) this.inc(watched().errors);
      else this.remove();
    },
  });
  new Gauge({
    name: "tahoe_apt_cluster_lease_held",
    help: "Whether this replica publishes the repository.",
    labelNames: ["repository"],
    registers: [registry],
    collect() {
      this.reset();
      for (const { name, isPublisher } of watched?.().repositories ?? [])
        this.set({ repository: name }, Number(isPublisher));
    },
  });
  new Counter({
    name: "tahoe_apt_cluster_lease_changes_total",
    help: "How often the publisher of the repository has changed, as far as this replica knows.",
    labelNames: ["repository"],
    registers: [registry],
    collect() {
      this.reset();
      for (const { name, leaseChanges } of watched?.().repositories ?? []) this.inc({ repository: name }, leaseChanges);
    },
  });
  new Gauge({
    name: "tahoe_apt_cluster_lag_seconds",
    help: "How long the fleet has had a publication that this replica does not serve; 0 if there is none.",
    labelNames: ["repository"],
    registers: [registry],
    collect() {
      this.reset();
      for (const { name, lagSeconds } of watched?.().repositories ?? []) this.set({ repository: name }, lagSeconds);
    },
  });
  return (fleet) => {
    watched = fleet;
  };
}
