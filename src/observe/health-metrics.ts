// Prometheus metrics of deep-checks: the number of objects in each state, and when the last round ended.
import type { Counter, Gauge } from "prom-client";
import type { RepositoryName } from "../base/names.ts";
import type { HealthObserver } from "../storage/health.ts";

/** Create metrics in one registry. */
interface MetricFactories {
  readonly counter: <Label extends string>(name: string, help: string, labels?: readonly Label[]) => Counter<Label>;
  readonly gauge: <Label extends string>(name: string, help: string, labels?: readonly Label[]) => Gauge<Label>;
}

/** Creates the metrics. @returns a function that makes the observer of a repository */
export function healthMetrics({ counter, gauge }: MetricFactories): (repository: RepositoryName) => HealthObserver {
  const checked = counter("objects_checked_total", "Checked objects of the grid, by state.", ["repository", "state"]);
  const renewed = counter("leases_renewed_total", "Objects whose leases were renewed.", ["repository"]);
  const failures = counter("deep_check_errors_total", "Rounds over all objects that failed.", ["repository"]);
  const objects = gauge("objects", "Objects of the tree by state in the last complete round.", ["repository", "state"]);
  const endedAt = gauge("deep_check_timestamp_seconds", "When the last complete round over all objects ended.", [
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
