// Prometheus metrics of signing keys: when each expires.
import type { Registry } from "prom-client";
import { Gauge } from "prom-client";
import type { Clock } from "../base/clock.ts";
import type { RepositoryName } from "../base/names.ts";
import type { SigningKey } from "../signing/signer.ts";

/** Creates the metrics. @returns a function to call with the keys of each repository, and again when they change */
export function keyMetrics(
  registry: Registry,
  clock: Clock,
): (repository: RepositoryName, keys: readonly SigningKey[]) => void {
  const ends = new Map<RepositoryName, readonly SigningKey[]>();
  const gauge = (name: string, help: string, readValue: (expiresAtSeconds: number) => number): void => {
    new Gauge({
      name: `tahoe_apt_${name}`,
      help,
      labelNames: ["repository", "fingerprint"],
      registers: [registry],
      collect() {
        // A key that was replaced must disappear.
        this.reset();
        for (const [repository, keys] of ends) {
          for (const { fingerprint, expiresAtSeconds = Number.POSITIVE_INFINITY } of keys) {
            this.set({ repository, fingerprint }, readValue(expiresAtSeconds));
          }
        }
      },
    });
  };
  gauge(
    "signing_key_expires_in_seconds",
    "Deprecated: use tahoe_apt_signing_key_expiry_timestamp_seconds. " +
      "Time until a signing key expires, negative once it has; +Inf for one that never does.",
    (expiresAtSeconds) => expiresAtSeconds - clock() / 1000,
  );
  gauge(
    "signing_key_expiry_timestamp_seconds",
    "When a signing key expires; +Inf for one that never does.",
    (expiresAtSeconds) => expiresAtSeconds,
  );
  return (repository, keys) => void ends.set(repository, keys);
}
