// Prometheus metrics of suites: the number of their packages now, and when the current publication was made.
import type { Registry } from "prom-client";
import { Gauge } from "prom-client";
import type { RepositoryName } from "../base/names.ts";
import type { SuiteCounts } from "../publishing/served-repository.ts";

/**
 * Creates a gauge of each suite that is computed at each scrape.
 * @param values returns the present suites: one that is no longer in the tree disappears. Those without a value are
 *   left out
 */
export function suiteGauge(
  registry: Registry,
  name: string,
  help: string,
  values: () => Iterable<readonly [repository: RepositoryName, suite: string, value: number | undefined]>,
): void {
  new Gauge({
    name: `tahoe_apt_${name}`,
    help,
    labelNames: ["repository", "suite"],
    registers: [registry],
    collect() {
      this.reset();
      for (const [repository, suite, value] of values()) {
        if (value !== undefined) this.set({ repository, suite }, value);
      }
    },
  });
}

/** Creates the metrics. @returns a function to call for each repository, with a function that counts */
export function suiteMetrics(
  registry: Registry,
): (repository: RepositoryName, counts: () => Iterable<SuiteCounts>) => void {
  const watched = new Map<RepositoryName, () => Iterable<SuiteCounts>>();
  const gauge = (name: string, help: string, readValue: (counts: SuiteCounts) => number | undefined): void =>
    suiteGauge(registry, name, help, function* () {
      for (const [repository, counts] of watched) {
        for (const each of counts()) yield [repository, each.suite, readValue(each)];
      }
    });
  gauge("binary_packages", "Binary packages in the current publication.", ({ published }) => published?.binaryPackages);
  gauge("source_packages", "Source packages in the current publication.", ({ published }) => published?.sourcePackages);
  gauge(
    "rejected_files",
    "Files that are in no index now; unknown until the suite was surveyed.",
    ({ rejectedFiles }) => rejectedFiles,
  );
  gauge(
    "publication_timestamp_seconds",
    "The Date in Release of the current publication.",
    ({ published }) => published?.dateSeconds,
  );
  return (repository, counts) => void watched.set(repository, counts);
}
