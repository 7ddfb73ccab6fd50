// Maps directories to builders' directories. The configured builders may change at any time.
import type { TreePath } from "../../base/names.ts";
import type { Layout } from "./repository-layout.ts";
import { anyTreeLayout } from "./repository-layout.ts";

/** How often, in ms, the configured directories are read again, which costs a system call. */
const refreshIntervalMs = 1000;
/** The number of cached results. */
const maxCached = 10_000;

/** Caches `Layout.builderDirectoryOf` for the current configuration. */
export class BuilderDirectories {
  readonly #configured: () => readonly TreePath[];
  readonly #layout: Layout;
  readonly #now: () => number;
  readonly #cache = new Map<TreePath, TreePath | undefined>();
  #directories: ReadonlySet<TreePath> = new Set();
  #refreshedMs = Number.NEGATIVE_INFINITY;

  /**
   * @param configured returns the directories of the currently configured builders
   * @param layout distinguishes suites, which belong to the operator, from directories in them
   * @param now a monotonic clock in ms
   */
  constructor(
    configured: () => readonly TreePath[] = () => [],
    layout: Layout = anyTreeLayout,
    now = () => performance.now(),
  ) {
    this.#configured = configured;
    this.#layout = layout;
    this.#now = now;
  }

  /** @param directory a directory that holds files, not a file @see builderDirectoryOf */
  of(directory: TreePath): TreePath | undefined {
    this.#refresh();
    if (this.#cache.has(directory)) return this.#cache.get(directory);
    if (this.#cache.size >= maxCached) this.#cache.clear();
    const builder = this.#layout.builderDirectoryOf(directory, this.#directories);
    this.#cache.set(directory, builder);
    return builder;
  }

  /** Whether a builder with this directory is configured. */
  isConfigured(directory: TreePath): boolean {
    this.#refresh();
    return this.#directories.has(directory);
  }

  #refresh(): void {
    const nowMs = this.#now();
    if (nowMs - this.#refreshedMs < refreshIntervalMs) return;
    this.#refreshedMs = nowMs;
    const configured = new Set(this.#configured());
    if ([...configured].join("\n") === [...this.#directories].join("\n")) return;
    this.#directories = configured;
    this.#cache.clear();
  }
}
