// One suite under refresh: its snapshot follows the catalog, and its current publication follows the snapshot.
import type { Suite, TreePath } from "../base/names.ts";
import { isWithin, pathNames } from "../base/names.ts";
import type { Catalog, FileChange } from "../catalog/catalog.ts";
import type { Rejection } from "../catalog/inspection.ts";
import type { Item } from "../catalog/item.ts";
import type { Place } from "../catalog/layout.ts";
import { placeOf, suitePath } from "../catalog/layout.ts";
import { Snapshot } from "../catalog/snapshot.ts";
import type { Manifest } from "./publication.ts";
import type { RejectedFile } from "./served.ts";
import type { SuiteBuilder } from "./suite-builder.ts";

/** The indices that a suite's directories ask for. */
export interface SuiteShape {
  readonly components: readonly string[];
  /** Without `all`, unless it is the only one. */
  readonly architectures: readonly string[];
  readonly hasSource: boolean;
}

export class ServedSuite {
  readonly name: Suite;
  readonly #builder: SuiteBuilder;
  readonly #snapshot = new Snapshot();
  #current: Manifest | undefined;
  #surveyed = false;

  constructor(name: Suite, builder: SuiteBuilder, current: Manifest | undefined) {
    this.name = name;
    this.#builder = builder;
    this.#current = current;
  }

  get current(): Manifest | undefined {
    return this.#current;
  }

  /** Whether the whole suite was seen since the start: before, no part of it can be brought up to date alone. */
  get surveyed(): boolean {
    return this.#surveyed;
  }

  /** Brings snapshot and publication up to date. Throws where the publication can't be built; then the last one stays. */
  async follow(
    catalog: Catalog,
    changes: readonly FileChange[],
    signal: AbortSignal,
  ): Promise<readonly RejectedFile[]> {
    const rejectedBefore = new Map(this.#snapshot.rejections());
    const change = this.#snapshot.apply(changes, (path) => catalog.file(path));
    this.#surveyed = true;
    this.#builder.note(change);
    const shape = shapeOf(catalog.directories(), this.name);
    this.#current = await this.#builder.build({
      items: () => this.#snapshot.items(),
      newestLinkMs: this.#snapshot.newestLinkMs,
      shape,
      current: this.#current,
      signal,
    });
    return [...this.#snapshot.rejections()]
      .filter(([path, { code, text }]) => {
        const before = rejectedBefore.get(path);
        return before?.code !== code || before.text !== text;
      })
      .map(rejectedFile);
  }

  items(): Iterable<Item> {
    return this.#snapshot.items();
  }

  /** What is rejected at or below a path, sorted by path. */
  rejectedWithin(path: TreePath): RejectedFile[] {
    return [...this.#snapshot.rejections()]
      .filter(([rejected]) => isWithin(rejected, path))
      .map(rejectedFile)
      .toSorted((a, b) => (a.path < b.path ? -1 : 1));
  }
}

const rejectedFile = ([path, { code, text }]: readonly [TreePath, Rejection]): RejectedFile => ({
  path,
  code,
  reason: text,
});

/** Reads a suite's shape off the directories that stand directly below its components. */
export function shapeOf(directories: Iterable<TreePath>, suite: Suite): SuiteShape {
  const places: Place[] = [];
  const placeDepth = pathNames(suitePath(suite)).length + 2;
  for (const directory of directories) {
    if (!isWithin(directory, suitePath(suite)) || pathNames(directory).length !== placeDepth) continue;
    const place = placeOf(directory);
    if (place !== undefined) places.push(place);
  }
  const architectures = new Set(places.flatMap((place) => (place.kind === "binary" ? [place.architecture] : [])));
  const real = [...architectures].filter((architecture) => architecture !== "all");
  return {
    components: [...new Set(places.map((place) => place.component))].toSorted(),
    architectures: (real.length > 0 ? real : [...architectures]).toSorted(),
    hasSource: places.some((place) => place.kind === "source"),
  };
}
