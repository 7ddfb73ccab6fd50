// Prometheus metrics of the processes that serve HTTP. A server without them has none.
import { AggregatorRegistry, Counter, Gauge, Registry } from "prom-client";
import type { RequestMetrics } from "./request-metrics.ts";
import { requestMetrics } from "./request-metrics.ts";

/** What one process has counted since its start. */
export type CountedMetrics = Awaited<ReturnType<Registry["getMetricsAsJSON"]>>;

/** What a server knows of the processes that serve HTTP for it. */
export interface ObservedWorkers {
  readonly running: number;
  readonly restarts: number;
  /** The CPU time of all processes, those that have ended too. */
  readonly cpuSeconds: number;
  /** What each process has counted, those that have ended too. */
  readonly counted: readonly CountedMetrics[];
}

/** Adds up what processes have counted. */
export const sumOf = (counted: readonly CountedMetrics[]): Registry => AggregatorRegistry.aggregate([...counted]);

/** The metrics of a worker. */
export function ownWorkerMetrics(): RequestMetrics & { readonly counted: () => Promise<CountedMetrics> } {
  const registry = new Registry();
  return { ...requestMetrics(registry), counted: () => registry.getMetricsAsJSON() };
}

/** Creates the metrics of the server. */
export function workerMetrics(registry: Registry) {
  let watched: (() => ObservedWorkers) | undefined;
  new Gauge({
    name: "tahoe_apt_http_workers",
    help: "Workers: processes that serve HTTP for the server.",
    // Otherwise prom-client would show 0 for a server without them.
    labelNames: [],
    registers: [registry],
    collect() {
      this.remove();
      if (watched !== undefined) this.set(watched().running);
    },
  });
  const counter = (name: string, help: string, value: (workers: ObservedWorkers) => number): void => {
    new Counter({
      name: `tahoe_apt_http_worker_${name}`,
      help,
      registers: [registry],
      collect() {
        this.reset();
        if (watched !== undefined) this.inc(value(watched()));
        else this.remove();
      },
    });
  };
  counter("restarts_total", "Workers that ended by themselves and were started again.", ({ restarts }) => restarts);
  counter("cpu_seconds_total", "CPU time of the workers.", ({ cpuSeconds }) => cpuSeconds);
  return {
    watch(workers: () => ObservedWorkers): void {
      watched = workers;
    },
    counted: (): readonly CountedMetrics[] => watched?.().counted ?? [],
  };
}
