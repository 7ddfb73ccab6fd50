// Imports into a local folder: files are first copied into a private directory of the folder, and renamed when all of
// them are there.
import type { BigIntStats } from "node:fs";
import { createReadStream, renameSync, statSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { chmod, constants, copyFile, link, mkdir, open, readdir, realpath, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { RepoError, systemCodeOf } from "../../base/errors.ts";
import { withLock } from "../../base/lock-directory.ts";
import type { TreePath } from "../../base/names.ts";
import { joinPath } from "../../base/names.ts";
import { replaceFile } from "../../base/replace-file.ts";
import { Semaphore } from "../../base/semaphore.ts";
import type { Inspection } from "../../catalog/inspection/inspection.ts";
import type { InspectorPool } from "../../catalog/inspection/inspector-pool.ts";
import type { PackageDirectory } from "../../catalog/layout/repository-layout.ts";
import { packageDirectoryPathOf } from "../../catalog/layout/repository-layout.ts";
import { fileIdentityOf, isBelow, maxLocalBytes, publicMode } from "../../storage/local-file.ts";
import type { RepositoryFiles } from "../../upstream/repository-files.ts";
import { UnusableRepository } from "../../upstream/unusable-repository.ts";
import { checkListed, digestOf, openListed } from "./checked-content.ts";
import type { ImportRecord, RecordedFile } from "./import-record.ts";
import { formatRecord, maxRecordBytes, parseRecord } from "./import-record.ts";
import type { DirectoryChange, ImportTarget, TargetDirectory, WantedFile } from "./import-target.ts";

/** The file system of the folder is full. */
class FolderFull extends RepoError {
  readonly code = "storage/full";
}

/** A directory of the folder is a link that leads out of it. */
class OutsideFolder extends RepoError {
  readonly code = "upstream/outside";
}

/** Servers do not look into it, because it is not below `dists`. It is on the same file system as the rest. */
const stagingName = ".tahoe-apt-import";
const stagedFiles = "files";
/** Files that this thread fetches or copies at the same time; others are copied by the threads that inspect them. */
const concurrentFetches = 16;

interface FolderOptions {
  /** The names of the directories below each package directory; undefined for none. */
  readonly subdirectory: TreePath | undefined;
  readonly pool: InspectorPool;
  readonly signal: AbortSignal;
}

type FileState = Required<Pick<RecordedFile, "sizeBytes" | "modifiedMs">>;

/** Runs an import into a folder, which is created if it is missing, while no other one changes this folder. */
export async function withFolderTarget<T>(
  folder: string,
  options: FolderOptions,
  waiting: (pid: number) => void,
  run: (target: ImportTarget) => Promise<T>,
): Promise<T> {
  const staging = join(folder, stagingName);
  await withSpace(folder, async () => {
    // A folder without `dists` would be a flat repository.
    await mkdir(join(folder, "dists"), { recursive: true });
    await mkdir(join(staging, stagedFiles), { recursive: true, mode: 0o700 });
  });
  const root = await realpath(folder);
  return await withLock(staging, "import", { signal: options.signal, waiting }, async () =>
    run(new FolderTarget(root, options)),
  );
}

/** A folder for `--dry-run`, in which nothing is created. */
export const plannedFolderTarget = (folder: string, options: FolderOptions): ImportTarget =>
  new FolderTarget(folder, options);

class FolderTarget implements ImportTarget {
  readonly #root: string;
  readonly #options: FolderOptions;
  readonly #staging: string;
  readonly #fetches = new Semaphore(concurrentFetches);
  /** The states of files that are in the folder, for the records. */
  readonly #states = new Map<string, FileState>();
  /** The names of files that a run that was interrupted has left, whole or not. */
  #left: Promise<ReadonlySet<string>> | undefined;
  #newDirectories = 0;

  constructor(root: string, options: FolderOptions) {
    this.#root = root;
    this.#options = options;
    this.#staging = join(root, stagingName);
  }

  directoryFor(location: PackageDirectory): TreePath {
    const { subdirectory } = this.#options;
    const directory = packageDirectoryPathOf(location);
    return subdirectory === undefined ? directory : joinPath(directory, subdirectory);
  }

  async look(path: TreePath, recordName: string): Promise<TargetDirectory> {
    const at = join(this.#root, path);
    const names = new Set(await unlessAbsent(readdir(at), []));
    const record = names.has(recordName) ? await readRecord(join(at, recordName)) : undefined;
    const sha256Of = async (name: string): Promise<string | undefined> => {
      const file = join(at, name);
      const found = await stat(file, { bigint: true });
      if (!found.isFile()) return undefined;
      const state = stateOf(found);
      this.#states.set(`${path}/${name}`, state);
      const recorded = record?.files.get(name);
      const isSame = recorded?.sizeBytes === state.sizeBytes && recorded?.modifiedMs === state.modifiedMs;
      return isSame && recorded !== undefined
        ? recorded.sha256
        : await digestOf(createReadStream(file, { signal: this.#options.signal }));
    };
    return { names, record, sha256Of };
  }

  async store(file: WantedFile, source: RepositoryFiles, stored: (bytes: number) => void): Promise<Inspection> {
    const staged = this.#stagedPath(file);
    this.#left ??= readdir(join(this.#staging, stagedFiles)).then((names) => new Set(names));
    const isLeft = (await this.#left).has(file.sha256);
    const location = isLeft || file.sizeBytes > maxLocalBytes ? undefined : await source.locationOf?.(file.path);
    if (location !== undefined) {
      const copied = { location: { ...location, copyPath: staged } };
      const inspection = await this.#options.pool.inspectLocal(file.kind, copied, this.#options.signal);
      if (inspection !== undefined) {
        await this.#checkStaged(file, inspection, staged);
        stored(file.sizeBytes);
        return inspection;
      }
    }
    const release = await this.#fetches.take(this.#options.signal);
    try {
      return await withSpace(this.#root, () => this.#fetchAndInspect(file, source, staged, stored));
    } finally {
      release();
    }
  }

  async change(changes: readonly DirectoryChange[], empty: readonly TreePath[]): Promise<void> {
    await withSpace(this.#root, async () => {
      const uses = new Map<string, number>();
      for (const { added } of changes)
        for (const { file } of added) uses.set(file.sha256, (uses.get(file.sha256) ?? 0) + 1);
      for (const change of changes) await this.#change(change, uses);
      for (const path of empty) await mkdir(join(this.#root, path), { recursive: true });
    });
  }

  async close(): Promise<void> {
    for (const name of await readdir(this.#staging))
      if (!name.startsWith(".")) await rm(join(this.#staging, name), { recursive: true, force: true });
  }

  async #change(
    { path, added, removed, recordName, record }: DirectoryChange,
    uses: Map<string, number>,
  ): Promise<void> {
    const final = join(this.#root, path);
    const exists = (await unlessAbsent(stat(final), undefined)) !== undefined;
    await mkdir(dirname(final), { recursive: true });
    const real = await realpath(exists ? final : dirname(final));
    if (!isBelow(real, this.#root))
      throw new OutsideFolder(`${path} is a symbolic link that leads out of ${this.#root}: replace it by a directory`);
    // A directory that is new appears with all its files at once.
    const at = exists ? final : join(this.#staging, `directory-${this.#newDirectories++}`);
    if (!exists) {
      await rm(at, { recursive: true, force: true });
      await mkdir(at, { mode: 0o755 });
    }
    // Synchronous, because promises would take several times as long. No other work waits here.
    for (const { name, file } of added)
      this.#states.set(`${path}/${name}`, stateOf(statSync(this.#stagedPath(file), { bigint: true })));
    // The record comes first and has what is removed, too: then nothing is forgotten if the run is interrupted.
    const files = new Map([...removed, ...record.files]);
    const text = formatRecord(this.#withStates(path, { ...record, files }));
    await replaceFile(join(at, recordName), text, { mode: publicMode });
    for (const { name, file } of added) {
      const left = (uses.get(file.sha256) ?? 1) - 1;
      uses.set(file.sha256, left);
      const staged = this.#stagedPath(file);
      if (left === 0) renameSync(staged, join(at, name));
      else await linkOver(staged, join(at, name));
    }
    for (const name of removed.keys()) await rm(join(at, name), { force: true });
    if (!exists) await rename(at, final);
  }

  #withStates(path: TreePath, record: ImportRecord): ImportRecord {
    const files = [...record.files].map(([name, file]): [string, RecordedFile] => [
      name,
      { ...file, ...this.#states.get(`${path}/${name}`) },
    ]);
    return { ...record, files: new Map(files) };
  }

  async #fetchAndInspect(
    file: WantedFile,
    source: RepositoryFiles,
    staged: string,
    stored: (bytes: number) => void,
  ): Promise<Inspection> {
    const left = await unlessAbsent(stat(staged), undefined);
    if (left?.size === file.sizeBytes) {
      try {
        const inspection = await this.#inspect(file, staged);
        stored(file.sizeBytes);
        return inspection;
      } catch (thrown) {
        if (!(thrown instanceof UnusableRepository)) throw thrown;
      }
    }
    await rm(staged, { force: true });
    await this.#fetch(file, source, staged, stored);
    return await this.#inspect(file, staged);
  }

  #stagedPath({ sha256 }: WantedFile): string {
    return join(this.#staging, stagedFiles, sha256);
  }

  async #fetch(
    file: WantedFile,
    source: RepositoryFiles,
    staged: string,
    stored: (bytes: number) => void,
  ): Promise<void> {
    const local = await source.localFile?.(file.path);
    if (local !== undefined) {
      await copyFile(local.location.path, staged, constants.COPYFILE_FICLONE);
      await chmod(staged, publicMode);
      stored(file.sizeBytes);
      return;
    }
    const handle = await open(staged, "wx", publicMode);
    let reported = 0;
    try {
      for await (const chunk of await openListed(source, file)) {
        await writeAll(handle, chunk);
        reported += chunk.byteLength;
        stored(chunk.byteLength);
      }
      await handle.chmod(publicMode);
    } catch (thrown) {
      stored(-reported);
      throw thrown;
    } finally {
      await handle.close();
    }
  }

  async #inspect(file: WantedFile, staged: string): Promise<Inspection> {
    const { pool, signal } = this.#options;
    const found = await stat(staged, { bigint: true });
    const root = join(this.#staging, stagedFiles);
    const location = { root, path: staged, fileIdentity: fileIdentityOf(found), hardLinkPath: undefined };
    const inspection =
      (await pool.inspectLocal(file.kind, { location }, signal)) ??
      (await pool.inspect(file.kind, createReadStream(staged, { signal }), signal));
    await this.#checkStaged(file, inspection, staged);
    return inspection;
  }

  /** Removes a file that is not the listed one. @throws UnusableRepository */
  async #checkStaged(file: WantedFile, inspection: Inspection, staged: string): Promise<void> {
    const { signal } = this.#options;
    try {
      await checkListed(file, inspection, () => digestOf(createReadStream(staged, { signal })));
    } catch (thrown) {
      await rm(staged, { force: true });
      throw thrown;
    }
  }
}

const stateOf = ({ size, mtimeNs }: BigIntStats): FileState => ({
  sizeBytes: Number(size),
  modifiedMs: Number(mtimeNs / 1_000_000n),
});

async function writeAll(handle: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let at = 0; at < chunk.byteLength; ) at += (await handle.write(chunk, at)).bytesWritten;
}

/** Gives a file another name, also if a file has this name. */
async function linkOver(existing: string, path: string): Promise<void> {
  await rm(path, { force: true });
  await link(existing, path);
}

async function readRecord(file: string): Promise<ImportRecord | undefined> {
  const handle = await open(file);
  try {
    const { size } = await handle.stat();
    return size > maxRecordBytes ? undefined : parseRecord(await handle.readFile("utf8"));
  } finally {
    await handle.close();
  }
}

async function unlessAbsent<T, Absent>(found: Promise<T>, absent: Absent): Promise<T | Absent> {
  try {
    return await found;
  } catch (thrown) {
    if (systemCodeOf(thrown) === "ENOENT") return absent;
    throw thrown;
  }
}

async function withSpace<T>(folder: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    if (!["ENOSPC", "EDQUOT"].includes(systemCodeOf(thrown) ?? "")) throw thrown;
    throw new FolderFull(`no space is left for ${folder}: make room, then run the same command again, which continues`);
  }
}
