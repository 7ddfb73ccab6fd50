// Collects and inspects the files of an upload: the given ones, and those that a .changes, .buildinfo or .dsc lists.
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

/** A file that passed all checks of itself and of the files that list it. */
export interface LocalFile {
  readonly path: string;
  /** The name of its link in the tree. */
  readonly name: string;
  readonly inspection: SoundInspection;
}

/** The reason why a file cannot be uploaded, for users. */
export interface Problem {
  readonly file: string;
  readonly reason: string;
}

export interface CollectedFiles {
  /** By name. */
  readonly files: ReadonlyMap<string, LocalFile>;
  /** The names in the Distribution field of each .changes file, by its path. */
  readonly distributions: ReadonlyMap<string, readonly string[]>;
  /** Names of listed, correct files that are not uploaded because APT does not use them, such as .buildinfo files. */
  readonly notUploaded: readonly string[];
  readonly problems: readonly Problem[];
}

/** Concurrent inspections: one decompresses on the main thread while the others wait for the disk. */
const concurrentInspections = 4;

/** Reads every file once. @param paths packages, their parts, .changes and .buildinfo files, in any order */
export async function collectLocalFiles(
  paths: readonly string[],
  limits: InspectLimits,
  signal: AbortSignal,
): Promise<CollectedFiles> {
  const collector = new LocalFilesCollector(limits, signal);
  await collector.collect(paths);
  return collector;
}

class LocalFilesCollector implements CollectedFiles {
  readonly files = new Map<string, LocalFile>();
  readonly distributions = new Map<string, readonly string[]>();
  readonly problems: Problem[] = [];
  readonly notUploaded: string[] = [];
  readonly #limits: InspectLimits;
  readonly #signal: AbortSignal;
  /** The list entries of each file, by its path, against which it is checked. */
  readonly #listed = new Map<string, ListedFile[]>();

  constructor(limits: InspectLimits, signal: AbortSignal) {
    this.#limits = limits;
    this.#signal = signal;
  }

  async collect(paths: readonly string[]): Promise<void> {
    const allPaths = new Set(paths.map((path) => resolve(path)));
    for (const path of [...allPaths].filter((each) => listsBuiltFiles(each))) {
      for (const each of await this.#readList(path)) allPaths.add(each);
    }
    const [lists, others] = split([...allPaths], listsBuiltFiles);
    const [packages, rest] = split(others, (path) => packageKindOf(basename(path)) !== undefined);
    await this.#inspectAll(packages, (name) => packageKindOf(name) ?? "part");

    const parts = new Set<string>();
    for (const { path, inspection } of this.files.values()) {
      if (inspection.kind !== "source") continue;
      for (const part of inspection.parts) {
        const at = rest.find((each) => basename(each) === part.name) ?? join(dirname(path), part.name);
        // A missing file may be in the tree already.
        if (!(await exists(at))) continue;
        this.#addListed(at, part);
        parts.add(at);
      }
    }
    await this.#inspectAll([...parts], () => "part");
    for (const path of [...lists, ...rest.filter((each) => !parts.has(each))])
      await this.#checkNotUploaded(path, paths);
  }

  /** The paths of the files that a .changes or .buildinfo lists, in the same directory. */
  async #readList(path: string): Promise<readonly string[]> {
    try {
      const { size } = await stat(path);
      if (size > this.#limits.maxDscBytes) throw limitFlaw("maxDscBytes", this.#limits.maxDscBytes, "its size");
      const { files, suites } = parseChanges(await readFile(path), this.#limits);
      if (path.endsWith(".changes")) this.distributions.set(path, suites);
      return files.map((file) => {
        const at = join(dirname(path), file.name);
        this.#addListed(at, file);
        return at;
      });
    } catch (thrown) {
      this.#addProblem(path, thrown);
      return [];
    }
  }

  #addListed(path: string, listed: ListedFile): void {
    this.#listed.set(path, [...(this.#listed.get(path) ?? []), listed]);
  }

  async #inspectAll(paths: readonly string[], kindOf: (name: string) => PackageKind): Promise<void> {
    await forEachConcurrent(paths, concurrentInspections, async (path) => {
      const name = basename(path);
      const inspection = await this.#inspect(path, kindOf(name));
      if (inspection === undefined) return;
      const other = this.files.get(name);
      if (other !== undefined && other.path !== path) this.#addProblem(path, `${other.path} has the same name`);
      this.files.set(name, { path, name, inspection });
    });
  }

  /** @returns undefined if the file is rejected; then a problem is added */
  async #inspect(path: string, kind: PackageKind): Promise<SoundInspection | undefined> {
    try {
      const options = { limits: this.#limits, algorithms: digestAlgorithms, fileLists: true };
      const inspection = await inspectContent(kind, createReadStream(path, { signal: this.#signal }), options);
      if (inspection.kind === "rejected") {
        this.#addProblem(path, inspection.text);
        return undefined;
      }
      const different = (this.#listed.get(path) ?? []).map((listed) => difference(listed, inspection)).find(Boolean);
      if (different === undefined) return inspection;
      this.#addProblem(path, `its ${different} differs from the one in the file that lists it`);
    } catch (thrown) {
      this.#signal.throwIfAborted();
      this.#addProblem(path, thrown);
    }
    return undefined;
  }

  /** Listed files must be correct even if they are not uploaded. Files that the user names must be usable. */
  async #checkNotUploaded(path: string, named: readonly string[]): Promise<void> {
    const isNamed = named.some((each) => resolve(each) === path);
    if (isNamed && !listsBuiltFiles(path)) {
      this.#addProblem(path, "is not a package, and no uploaded .dsc lists it");
    } else if (isNamed || (await this.#inspect(path, "part")) !== undefined) {
      this.notUploaded.push(basename(path));
    }
  }

  #addProblem(file: string, thrown: unknown): void {
    this.problems.push({ file, reason: reasonOf(file, thrown) });
  }
}

function reasonOf(file: string, thrown: unknown): string {
  if (systemCodeOf(thrown) !== "ENOENT") return fileReasonOf(thrown);
  return /[*?]/.test(basename(file)) ? "no file matches this pattern" : "does not exist";
}

/** @returns the name of the property that differs */
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
