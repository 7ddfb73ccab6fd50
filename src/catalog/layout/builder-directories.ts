// Whose directory a path belongs to, while builders come and go.
import type { TreePath } from "../../base/names.ts";
import type { Layout } from "./repository-layout.ts";
import { anyTreeLayout } from "./repository-layout.ts";

/** How long the configured directories are taken for the same, in ms: asking for them costs a call to the system. */
const freshMs = 1000;
/** For so many directories it is remembered whose they are. */
const maxKnown = 10_000;

export class BuilderDirectories {
  readonly #configured: () => readonly TreePath[];
  readonly #layout: Layout;
  readonly #now: () => number;
  readonly #known = new Map<TreePath, TreePath | undefined>();
  #directories: ReadonlySet<TreePath> = new Set();
  #askedMs = Number.NEGATIVE_INFINITY;

  /**
   * @param configured the directories of the builders that are known at the moment
   * @param layout tells whole suites, which are the operator's, from directories in them
   * @param now in milliseconds
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
    if (this.#known.has(directory)) return this.#known.get(directory);
    if (this.#known.size >= maxKnown) this.#known.clear();
    const builder = this.#layout.builderDirectoryOf(directory, this.#directories);
    this.#known.set(directory, builder);
    return builder;
  }

  /** Whether this is the directory of a configured builder. */
  isConfigured(directory: TreePath): boolean {
    this.#refresh();
    return this.#directories.has(directory);
  }

  #refresh(): void {
    const nowMs = this.#now();
    if (nowMs - this.#askedMs < freshMs) return;
    this.#askedMs = nowMs;
    const configured = new Set(this.#configured());
    if ([...configured].join("\n") === [...this.#directories].join("\n")) return;
    this.#directories = configured;
    this.#known.clear();
  }
}
