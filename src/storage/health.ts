// The port through which one stored object is checked and kept from being forgotten.
import type { FileRef } from "./tree.ts";

/** How well the storage holds an object, and what was done about it. */
export interface Health {
  /** `unhealthy`: it can be read, from fewer shares than it should have. `lost`: it can't be read any more. */
  readonly state: "healthy" | "unhealthy" | "lost";
  /** Names the object to those who run the storage, and is no authority; "" for what its cap holds by itself. */
  readonly storageIndex: string;
  /** How many shares are good, suffice to read it, and should be there; undefined where nothing is stored. */
  readonly shares: { readonly good: number; readonly needed: number; readonly expected: number } | undefined;
  /** Whether it was mended by this check, so that `state` is how it is now. */
  readonly repaired: boolean;
}

/** How many objects are in each state, and what was done for them. */
export interface HealthCounts {
  readonly healthy: number;
  readonly unhealthy: number;
  readonly lost: number;
  /** Nobody could tell. */
  readonly unchecked: number;
  /** Mended, and counted as healthy. */
  readonly repaired: number;
  /** Objects whose leases were renewed: all that are stored and can be read. */
  readonly renewed: number;
}

export interface CheckOptions {
  /** Reads every share whole: slow, and finds also those whose bytes have changed. */
  readonly verify: boolean;
  /** Makes the missing shares of what is unhealthy. A mutable object needs its write cap for that. */
  readonly repair: boolean;
}

export interface HealthCheck {
  /**
   * Checks one object, by its content where it has one and else by its path, and renews the leases on all its shares.
   * @throws StorageUnavailable, ContentGone
   */
  check(object: FileRef, options: CheckOptions, signal: AbortSignal): Promise<Health>;
}

/** Told of each object that is checked, and of each round over a tree. */
export interface HealthObserver {
  checked(state: Health["state"] | "unchecked"): void;
  /** @param endedAtSeconds since the epoch; may be long ago, where a server has just started */
  ended(counts: HealthCounts, endedAtSeconds: number): void;
  failed(): void;
}
