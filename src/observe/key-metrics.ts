// Prometheus metrics of signing keys: the time until each expires.
import type { Registry } from "prom-client";
import { Gauge } from "prom-client";
import type { Clock } from "../base/clock.ts";
import type { RepositoryName } from "../base/names.ts";
import type { SigningKey } from "../signing/signer.ts";

/** Creates the metrics. @returns a function to call once with the keys of each repository */
export function keyMetrics(
  registry: Registry,
  clock: Clock,
): (repository: RepositoryName, keys: readonly SigningKey[]) => void {
  const ends = new Map<RepositoryName, readonly SigningKey[]>();
  new Gauge({
    name: "tahoe_apt_signing_key_expires_in_seconds",
    help: "Time until a signing key expires, negative once it has; +Inf for one that never does.",
    labelNames: ["repository", "fingerprint"],
    registers: [registry],
    collect() {
      for (const [repository, keys] of ends) {
        for (const { fingerprint, expiresAtSeconds = Number.POSITIVE_INFINITY } of keys) {
          this.set({ repository, fingerprint }, expiresAtSeconds - clock() / 1000);
        }
      }
    },
  });
  return (repository, keys) => void ends.set(repository, keys);
}
