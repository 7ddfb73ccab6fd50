// Prometheus metrics of the file system with the state directory.
import type { StatsFs } from "node:fs";
import { statfs } from "node:fs/promises";
import type { Registry } from "prom-client";
import { Gauge } from "prom-client";

/** Creates the metrics. @returns a function to call once with the state directory */
export function stateMetrics(registry: Registry): (directory: string) => void {
  let watched: string | undefined;
  const gauge = (name: string, help: string, blocksOf: (found: StatsFs) => number): void => {
    new Gauge({
      name: `tahoe_apt_${name}`,
      help,
      registers: [registry],
      async collect() {
        if (watched === undefined) return;
        // A disk that does not respond as it should has no room, and must not make the scrape fail.
        const found = await statfs(watched).catch(() => undefined);
        this.set(found === undefined ? 0 : blocksOf(found) * found.bsize);
      },
    });
  };
  gauge("state_size_bytes", "The size of the file system with the state directory.", ({ blocks }) => blocks);
  gauge("state_free_bytes", "What is left of the file system with the state directory.", ({ bavail }) => bavail);
  return (directory) => {
    watched = directory;
  };
}
