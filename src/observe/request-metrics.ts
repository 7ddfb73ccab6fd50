// The metrics that each process counts which answers requests. A server sums up those of its processes.
import type { Registry } from "prom-client";
import { Counter, Histogram } from "prom-client";

const responseBuckets = [0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 25, 60, 300];

export interface RequestMetrics {
  readonly requestObserver: {
    answered(requestClass: string, status: number | "cut", durationSeconds: number): void;
  };
  /** A package was read from the cache. */
  readonly cacheHit: (bytes: number) => void;
}

export function requestMetrics(registry: Registry): RequestMetrics {
  const registers = [registry];
  const requests = new Counter({
    name: "tahoe_apt_http_requests_total",
    help: "Requests by class and status.",
    labelNames: ["class", "status"],
    registers,
  });
  const responses = new Histogram({
    name: "tahoe_apt_http_request_duration_seconds",
    help: "Time from a request to the end of its response.",
    buckets: responseBuckets,
    labelNames: ["class"],
    registers,
  });
  const hits = new Counter({
    name: "tahoe_apt_cache_hits_total",
    help: "Reads of packages from the cache.",
    registers,
  });
  const hitBytes = new Counter({
    name: "tahoe_apt_cache_hit_bytes_total",
    help: "Bytes read from the cache.",
    registers,
  });
  return {
    requestObserver: {
      answered(requestClass, status, durationSeconds) {
        requests.inc({ class: requestClass, status: status === "cut" ? status : `${Math.floor(status / 100)}xx` });
        responses.observe({ class: requestClass }, durationSeconds);
      },
    },
    cacheHit(bytes) {
      hits.inc();
      hitBytes.inc(bytes);
    },
  };
}
