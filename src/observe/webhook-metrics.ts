// Prometheus metrics of webhooks: the results of deliveries, and the number of events that wait.
import type { Registry } from "prom-client";
import { Counter, Gauge } from "prom-client";
import type { RepositoryName } from "../base/names.ts";

interface WebhookMetrics {
  webhookObserverOf(repository: RepositoryName): {
    counted(result: "delivered" | "failed" | "dropped", count: number): void;
  };
  watchWebhooks(repository: RepositoryName, waiting: () => number | undefined): void;
}

/** Creates the metrics. */
export function webhookMetrics(registry: Registry): WebhookMetrics {
  const results = new Counter({
    name: "tahoe_apt_webhook_deliveries_total",
    help: "Attempts to deliver an event to a webhook, and events that were dropped, by result.",
    labelNames: ["repository", "result"],
    registers: [registry],
  });
  const watched = new Map<RepositoryName, () => number | undefined>();
  new Gauge({
    name: "tahoe_apt_webhook_waiting_events",
    help: "Events that a webhook has not received yet.",
    labelNames: ["repository"],
    registers: [registry],
    collect() {
      this.reset();
      for (const [repository, waiting] of watched) {
        const count = waiting();
        if (count !== undefined) this.set({ repository }, count);
      }
    },
  });
  return {
    webhookObserverOf: (repository) => ({ counted: (result, count) => results.inc({ repository, result }, count) }),
    watchWebhooks: (repository, waiting) => void watched.set(repository, waiting),
  };
}
