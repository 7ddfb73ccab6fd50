// What Prometheus sees of deep-checks: how many objects are how healthy, and when that was last seen.
import type { Counter, Gauge } from "prom-client";
import type { RepositoryName } from "../base/names.ts";
import type { HealthObserver } from "../storage/health.ts";

/** Makers of measures in one registry. */
interface MetricFactories {
  readonly counter: <Label extends string>(name: string, help: string, labels?: readonly Label[]) => Counter<Label>;
  readonly gauge: <Label extends string>(name: string, help: string, labels?: readonly Label[]) => Gauge<Label>;
}

export function healthMetrics({ counter, gauge }: MetricFactories): (repository: RepositoryName) => HealthObserver {
  const checked = counter("objects_checked_total", "Objects of the grid that were checked, by what was found.", [
    "repository",
    "state",
  ]);
  const renewed = counter("leases_renewed_total", "Objects whose leases were renewed.", ["repository"]);
  const failures = counter("deep_check_errors_total", "Rounds over all objects that did not come to their end.", [
    "repository",
  ]);
  const objects = gauge("objects", "Objects of the tree by how healthy the last whole round found them.", [
    "repository",
    "state",
  ]);
  const endedAt = gauge("deep_check_timestamp_seconds", "When the last whole round over all objects ended.", [
    "repository",
  ]);
  return (repository) => {
    failures.inc({ repository }, 0);
    renewed.inc({ repository }, 0);
    return {
      checked(state) {
        checked.inc({ repository, state });
        if (state === "healthy" || state === "unhealthy") renewed.inc({ repository });
      },
      ended(counts, endedAtSeconds) {
        for (const state of ["healthy", "unhealthy", "lost", "unchecked"] as const) {
          objects.set({ repository, state }, counts[state]);
        }
        endedAt.set({ repository }, endedAtSeconds);
      },
      failed: () => failures.inc({ repository }),
    };
  };
}
