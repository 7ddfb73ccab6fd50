// The local files of an upload: those that are named, those that a .changes, .buildinfo or .dsc lists, all inspected.
import { createReadStream } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { fileReasonOf, systemCodeOf } from "../../base/errors.ts";
import { forEachConcurrent } from "../../base/for-each-concurrent.ts";
import { inspectContent, packageKindOf } from "../../catalog/inspection/inspect.ts";
import type { InspectLimits } from "../../catalog/inspection/inspect-limits.ts";
import type { PackageKind, SoundInspection } from "../../catalog/inspection/inspection.ts";
import { listsBuiltFiles, parseChanges } from "../../debian/changes.ts";
import { digestAlgorithms } from "../../debian/digests.ts";
import type { ListedFile } from "../../debian/listed-files.ts";
import { limitFlaw } from "../../debian/malformed.ts";

/** A file that passed every check that needs no more than itself and what lists it. */
export interface LocalFile {
  readonly path: string;
  /** The name that it will be linked under. */
  readonly name: string;
  readonly inspection: SoundInspection;
}

/** Why a file can't be uploaded, for people. */
export interface Problem {
  readonly file: string;
  readonly reason: string;
}

export interface CollectedFiles {
  /** By name. */
  readonly files: ReadonlyMap<string, LocalFile>;
  /** The .changes files, by path, each with the names in its Distribution field. */
  readonly distributions: ReadonlyMap<string, readonly string[]>;
  /** Listed, whole, and of no use to APT: the .buildinfo itself, for one. */
  readonly passedOver: readonly string[];
  readonly problems: readonly Problem[];
}

/** Inspections side by side: each decompresses a package on the one main thread, while others wait for the disk. */
const concurrentInspections = 4;

/** Reads every file once. @param paths of packages, their parts, .changes and .buildinfo files, in any order */
export async function collectLocalFiles(
  paths: readonly string[],
  limits: InspectLimits,
  signal: AbortSignal,
): Promise<CollectedFiles> {
  const gathering = new Gathering(limits, signal);
  await gathering.take(paths);
  return gathering;
}

class Gathering implements CollectedFiles {
  readonly files = new Map<string, LocalFile>();
  readonly distributions = new Map<string, readonly string[]>();
  readonly problems: Problem[] = [];
  readonly passedOver: string[] = [];
  readonly #limits: InspectLimits;
  readonly #signal: AbortSignal;
  /** What is known of a file before it is read, by its path: the lists that name it. */
  readonly #listed = new Map<string, ListedFile[]>();

  constructor(limits: InspectLimits, signal: AbortSignal) {
    this.#limits = limits;
    this.#signal = signal;
  }

  async take(paths: readonly string[]): Promise<void> {
    const wanted = new Set(paths.map((path) => resolve(path)));
    for (const path of [...wanted].filter((each) => listsBuiltFiles(each))) {
      for (const each of await this.#readList(path)) wanted.add(each);
    }
    const [lists, others] = split([...wanted], listsBuiltFiles);
    const [packages, rest] = split(others, (path) => packageKindOf(basename(path)) !== undefined);
    await this.#inspectAll(packages, (name) => packageKindOf(name) ?? "part");

    const parts = new Set<string>();
    for (const { path, inspection } of this.files.values()) {
      if (inspection.kind !== "source") continue;
      for (const part of inspection.parts) {
        const at = rest.find((each) => basename(each) === part.name) ?? join(dirname(path), part.name);
        // One that is not here may be in the directory already.
        if (!(await exists(at))) continue;
        this.#note(at, part);
        parts.add(at);
      }
    }
    await this.#inspectAll([...parts], () => "part");
    for (const path of [...lists, ...rest.filter((each) => !parts.has(each))]) await this.#passOver(path, paths);
  }

  /** The paths that a .changes or .buildinfo lists, beside it. */
  async #readList(path: string): Promise<readonly string[]> {
    try {
      const { size } = await stat(path);
      if (size > this.#limits.maxDscBytes) throw limitFlaw("maxDscBytes", this.#limits.maxDscBytes, "its size");
      const { files, suites } = parseChanges(await readFile(path), this.#limits);
      if (path.endsWith(".changes")) this.distributions.set(path, suites);
      return files.map((file) => {
        const at = join(dirname(path), file.name);
        this.#note(at, file);
        return at;
      });
    } catch (thrown) {
      this.#fail(path, thrown);
      return [];
    }
  }

  #note(path: string, listed: ListedFile): void {
    this.#listed.set(path, [...(this.#listed.get(path) ?? []), listed]);
  }

  async #inspectAll(paths: readonly string[], kindOf: (name: string) => PackageKind): Promise<void> {
    await forEachConcurrent(paths, concurrentInspections, async (path) => {
      const name = basename(path);
      const inspection = await this.#inspect(path, kindOf(name));
      if (inspection === undefined) return;
      const other = this.files.get(name);
      if (other !== undefined && other.path !== path) this.#fail(path, `${other.path} has the same name`);
      this.files.set(name, { path, name, inspection });
    });
  }

  /** @returns undefined where the file was found wanting */
  async #inspect(path: string, kind: PackageKind): Promise<SoundInspection | undefined> {
    try {
      const options = { limits: this.#limits, algorithms: digestAlgorithms, fileLists: true };
      const inspection = await inspectContent(kind, createReadStream(path, { signal: this.#signal }), options);
      if (inspection.kind === "rejected") {
        this.#fail(path, inspection.text);
        return undefined;
      }
      const differing = (this.#listed.get(path) ?? []).map((listed) => difference(listed, inspection)).find(Boolean);
      if (differing === undefined) return inspection;
      this.#fail(path, `has another ${differing} than the file that lists it says`);
    } catch (thrown) {
      this.#signal.throwIfAborted();
      this.#fail(path, thrown);
    }
    return undefined;
  }

  /** What is listed must be whole, even if nothing of it is uploaded; what was named by hand must be of use. */
  async #passOver(path: string, named: readonly string[]): Promise<void> {
    const isNamed = named.some((each) => resolve(each) === path);
    if (isNamed && !listsBuiltFiles(path)) {
      this.#fail(path, "is no package, and no .dsc that is uploaded names it");
    } else if (isNamed || (await this.#inspect(path, "part")) !== undefined) {
      this.passedOver.push(basename(path));
    }
  }

  #fail(file: string, thrown: unknown): void {
    this.problems.push({ file, reason: reasonOf(file, thrown) });
  }
}

function reasonOf(file: string, thrown: unknown): string {
  if (systemCodeOf(thrown) !== "ENOENT") return fileReasonOf(thrown);
  return /[*?]/.test(basename(file)) ? "no file matches this pattern" : "is not there";
}

/** @returns what differs, in words */
function difference(listed: ListedFile, found: SoundInspection): string | undefined {
  if (listed.sizeBytes !== found.sizeBytes) return "size";
  return digestAlgorithms.find(
    (algorithm) => (listed.digests[algorithm] ?? found.digests[algorithm]) !== found.digests[algorithm],
  );
}

function split<T>(items: readonly T[], belongs: (item: T) => boolean): readonly [readonly T[], readonly T[]] {
  return [items.filter(belongs), items.filter((item) => !belongs(item))];
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );
