// The options and the outcome of a reload of the configuration.
import type { RepositoryName } from "../base/names.ts";

export interface ReloadOptions {
  /** Whether the identity of a suite may differ from what clients have seen, for this reload. */
  readonly acceptIdentityChange?: boolean | undefined;
}

/** The outcome of a reload that has succeeded. */
export interface ReloadOutcome {
  /** The changed keys that are in effect now. */
  readonly live: readonly string[];
  /** The changed keys that need a restart. */
  readonly restart: readonly string[];
  /**
   * For each repository that was added or opened again: resolves when its publications have the new settings. The value
   * is undefined, or the reason why they do not have them yet.
   */
  readonly published: ReadonlyMap<RepositoryName, Promise<string | undefined>>;
}
