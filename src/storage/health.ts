// The interface for checking one stored object and renewing its leases.
import type { FileRef } from "./tree.ts";

/** The health of an object, and whether it was repaired. */
export interface Health {
  /** `unhealthy`: readable, but with fewer shares than it should have. `lost`: no longer readable. */
  readonly state: "healthy" | "unhealthy" | "lost";
  /** Tahoe's storage index, which gives no access to the content; "" for a literal cap, which contains the content. */
  readonly storageIndex: string;
  /** The number of good shares, of shares needed to read it, and of shares expected; undefined for a literal cap. */
  readonly shares: { readonly good: number; readonly needed: number; readonly expected: number } | undefined;
  /** Whether this check repaired it; `state` is the state after the repair. */
  readonly repaired: boolean;
}

/** The number of objects in each state, of repairs and of renewed leases. */
export interface HealthCounts {
  readonly healthy: number;
  readonly unhealthy: number;
  readonly lost: number;
  /** The check of these failed. */
  readonly unchecked: number;
  /** Repaired objects, which also count as healthy. */
  readonly repaired: number;
  /** Objects whose leases were renewed: all that have shares and are readable. */
  readonly renewed: number;
}

/** Options of a check. */
export interface CheckOptions {
  /** Reads every share completely: slow, but also finds corrupt shares. */
  readonly verify: boolean;
  /** Makes the missing shares of unhealthy objects. Mutable objects require the write cap. */
  readonly repair: boolean;
}

/** Checks objects. Implemented by the webapi, and by the failover between gateways. */
export interface HealthCheck {
  /**
   * Checks one object, by its content id if it has one and else by its path, and renews the leases on all its shares.
   * @throws StorageUnavailable, ContentGone
   */
  check(object: FileRef, options: CheckOptions, signal: AbortSignal): Promise<Health>;
}

/** Receives each checked object, and the result of each round over a tree. */
export interface HealthObserver {
  checked(state: Health["state"] | "unchecked"): void;
  /** @param endedAtSeconds since the epoch; at the start of a server it is the end of the last round */
  ended(counts: HealthCounts, endedAtSeconds: number): void;
  failed(): void;
}
