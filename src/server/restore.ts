// Restores a backup: first everything is checked, then written, and a mark stays until all of it is there.
import { existsSync } from "node:fs";
import { chmod, chown, lchown, mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { systemClock } from "../base/clock.ts";
import { fileReasonOf, messageOf, RepoError, systemCodeOf } from "../base/errors.ts";
import { parseJsonIntegers } from "../base/json-integers.ts";
import { silentLog } from "../base/log.ts";
import { replaceFile } from "../base/replace-file.ts";
import { parseTomlText } from "../config/config-values.ts";
import { filesNamedIn, stateDirectoryOf } from "../config/named-files.ts";
import { minDateLagSeconds } from "../publishing/build/release-date.ts";
import { isLastingDatabase, storeRecords } from "../publishing/store/lasting-records.ts";
import { closeStateDatabase, openStateDatabase } from "../publishing/store/state-database.ts";
import type { BackupMember, BackupOrigin, VerifiedBackup } from "./backup-archive.ts";
import { BadBackup, verifyBackup } from "./backup-archive.ts";
import { FileOwners } from "./file-owners.ts";
import { databaseIn, lastDatesName, makeStateDirectory } from "./state-directory.ts";
import { claimStateForCommand } from "./state-lock.ts";
import { parseRecord } from "./state-records.ts";
import { isMarkOrLock, markState, rejectNewer, unfinishedMarkIn } from "./state-version.ts";

/** The backup would replace something, or cannot be written. */
class RestoreRefused extends RepoError {
  readonly code = "backup/refused";
}

export interface RestoreRequest {
  readonly file: string;
  /** Where the configuration goes, an absolute path; undefined: where it was. */
  readonly configurationFile: string | undefined;
  /** Undefined: the directory that the configuration names, or where it was. */
  readonly stateDirectory: string | undefined;
  /** Whether existing files are replaced, and an existing state is set aside. */
  readonly force: boolean;
}

export interface RestoreSummary {
  readonly madeBy: string;
  /** Milliseconds since the epoch. */
  readonly madeAtMs: number;
  readonly stateDirectory: string;
  /** Undefined if the backup contains none. */
  readonly configurationFile: string | undefined;
  readonly files: readonly string[];
  readonly repositories: readonly string[];
  readonly records: number;
  readonly pins: number;
  /** All Dates of publications will be later than this, in seconds since the epoch. */
  readonly datesAfterSeconds: number;
  /** Where the state is that was in the directory before. */
  readonly setAside: string | undefined;
}

/**
 * Restores a backup into an empty state directory. If it is interrupted, no server starts with that directory until the
 * restore is repeated.
 * @throws BadBackup, RestoreRefused, StateTooNew, StateInUse
 */
export async function restoreBackup(request: RestoreRequest): Promise<RestoreSummary> {
  const backup = await verified(request.file);
  rejectNewer({ format: backup.header.stateFormat, program: backup.header.program }, request.file);
  const restore = await Restore.plan(backup, request);
  await makeStateDirectory(restore.stateDirectory);
  const unlock = await claimStateForCommand(restore.stateDirectory, (reason) => new RestoreRefused(reason));
  try {
    return await restore.run();
  } finally {
    await unlock();
  }
}

async function verified(file: string): Promise<VerifiedBackup> {
  try {
    return await verifyBackup(file);
  } catch (thrown) {
    if (systemCodeOf(thrown) === undefined) throw thrown;
    throw new RestoreRefused(`cannot read ${file}: ${fileReasonOf(thrown)}`);
  }
}

/** Where the files of a backup go. */
interface Places {
  readonly configurationFile: string | undefined;
  readonly stateDirectory: string;
}

class Restore {
  readonly stateDirectory: string;
  readonly #backup: VerifiedBackup;
  readonly #places: Places;
  readonly #isForced: boolean;
  readonly #owners = new FileOwners();
  readonly #files: string[] = [];
  /** Directories that this restore has made, and that only root can enter so far. */
  readonly #closed = new Set<string>();

  /** Finds the places of all files, and what is in the way. @throws BadBackup, RestoreRefused */
  static async plan(backup: VerifiedBackup, request: RestoreRequest): Promise<Restore> {
    const places = await placesOf(backup, request);
    await refuseUnnamed(backup, places, request.file);
    if (request.force) await refuseForeign(places.stateDirectory);
    else {
      await refuseOccupied(places.stateDirectory);
      for await (const { origin, content } of backup.members()) {
        const target = targetOf(origin, places);
        if (target === undefined || origin.kind === "state") continue;
        const present = await readFile(target).catch((thrown: unknown) => {
          if (systemCodeOf(thrown) === "ENOENT") return undefined;
          throw new RestoreRefused(`cannot read ${target}: ${fileReasonOf(thrown)}`);
        });
        if (present !== undefined && !present.equals(content))
          throw new RestoreRefused(`${target} exists already, with other content: --force replaces it`);
      }
    }
    return new Restore(backup, places, request.force);
  }

  private constructor(backup: VerifiedBackup, places: Places, isForced: boolean) {
    this.#backup = backup;
    this.#places = places;
    this.#isForced = isForced;
    this.stateDirectory = places.stateDirectory;
  }

  async run(): Promise<RestoreSummary> {
    const { header } = this.#backup;
    const directory = this.stateDirectory;
    const owner = await closeToOthers(directory);
    const isRepeated = existsSync(unfinishedMarkIn(directory));
    const setAside = !isRepeated && this.#isForced ? await setStateAside(directory) : undefined;
    await writeFile(unfinishedMarkIn(directory), "", { mode: 0o600 });
    // What an interrupted restore has left.
    for (const name of await stateNamesIn(directory)) await rm(join(directory, name), { recursive: true, force: true });
    // Every Date that was served is at least this far behind the clock, also after the backup was made.
    const datesAfterSeconds = Math.floor(systemClock() / 1000) - minDateLagSeconds - 1;
    const { records, pins } = await this.#write(datesAfterSeconds, owner);
    await markState(directory, silentLog);
    await rm(unfinishedMarkIn(directory));
    return {
      madeBy: header.program,
      madeAtMs: header.createdMs,
      stateDirectory: directory,
      configurationFile: this.#places.configurationFile,
      files: this.#files,
      repositories: header.repositories,
      records,
      pins,
      datesAfterSeconds,
      setAside,
    };
  }

  async #write(
    datesAfterSeconds: number,
    formerOwner: Owner | undefined,
  ): Promise<{ readonly records: number; readonly pins: number }> {
    const root = openStateDatabase(databaseIn(this.stateDirectory));
    let records = 0;
    let pins = 0;
    let origin: BackupOrigin | undefined;
    try {
      for await (const member of this.#backup.members()) {
        if (member.origin.kind !== "records") {
          await this.#writeFile(member, datesAfterSeconds);
          continue;
        }
        origin = member.origin;
        const found = recordsIn(member);
        await storeRecords(root, found);
        records += found.length;
        pins += found.filter(({ database }) => database.endsWith("/pins")).length;
      }
    } finally {
      await closeStateDatabase(root);
    }
    const owner = formerOwner?.uid === 0 && origin !== undefined ? this.#owners.numbersOf(origin) : formerOwner;
    // The directory itself comes last: from then on its user can change what is in it.
    if (owner !== undefined && owner.uid !== 0) await giveAll(this.stateDirectory, owner);
    return { records, pins };
  }

  async #writeFile({ origin, content }: BackupMember, datesAfterSeconds: number): Promise<void> {
    const target = targetOf(origin, this.#places);
    if (target === undefined) return;
    const isDates = origin.kind === "state" && origin.path === lastDatesName;
    try {
      const owner = isRoot() ? this.#owners.numbersOf(origin) : undefined;
      await this.#makeDirectory(dirname(target), owner);
      const bytes = isDates ? raised(content, datesAfterSeconds) : content;
      // No file of a backup is a program that runs as its owner.
      await replaceFile(target, bytes, { mode: origin.mode & 0o777, owner });
    } catch (thrown) {
      throw new RestoreRefused(`cannot write ${target}: ${messageOf(thrown)}`);
    }
    this.#files.push(target);
  }

  /** Makes a directory, which belongs to root, and which the group of a file in it may enter. */
  async #makeDirectory(directory: string, owner: Owner | undefined): Promise<void> {
    const first = await mkdir(directory, { recursive: true, mode: 0o700 });
    for (let made = directory; first !== undefined; made = dirname(made)) {
      this.#closed.add(made);
      if (made === first) break;
    }
    if (owner === undefined || owner.gid === 0) return;
    for (let above = directory; this.#closed.delete(above); above = dirname(above)) {
      await lchown(above, 0, owner.gid);
      await chmod(above, 0o750);
    }
  }
}

interface Owner {
  readonly uid: number;
  readonly gid: number;
}

const isRoot = (): boolean => process.getuid?.() === 0;

/**
 * As root, takes the state directory from the server's user, who could otherwise lead the restore to other places with
 * links. @returns its owner; undefined if this process is not root
 */
async function closeToOthers(directory: string): Promise<Owner | undefined> {
  if (!isRoot()) return undefined;
  const owner = await stat(directory);
  await chown(directory, 0, 0);
  await chmod(directory, 0o700);
  return owner;
}

/** Gives a directory and all that is in it to a user, without following links. */
async function giveAll(directory: string, owner: Owner): Promise<void> {
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    if (entry.name.startsWith(asidePrefix)) continue;
    const path = join(directory, entry.name);
    if (entry.isDirectory()) await giveAll(path, owner);
    else await lchown(path, owner.uid, owner.gid);
  }
  await lchown(directory, owner.uid, owner.gid);
}

async function placesOf(backup: VerifiedBackup, request: RestoreRequest): Promise<Places> {
  const { state } = backup.header;
  if (!isAbsolute(state.directory)) throw new BadBackup(`${request.file} is damaged: its state directory is no path`);
  for await (const { origin, content } of backup.members()) {
    if (origin.kind !== "configuration") continue;
    const configurationFile = request.configurationFile ?? origin.path;
    if (!isAbsolute(configurationFile))
      throw new BadBackup(`${request.file} is damaged: the place of its configuration is no path`);
    const configured = stateDirectoryOf(tablesIn(content, request.file), dirname(configurationFile));
    const stateDirectory = request.stateDirectory ?? (state.isConfigured ? configured : state.directory);
    return { configurationFile, stateDirectory };
  }
  if (request.configurationFile !== undefined)
    throw new RestoreRefused(`--config: ${request.file} contains no configuration, only a state`);
  return { configurationFile: undefined, stateDirectory: request.stateDirectory ?? state.directory };
}

function tablesIn(content: Uint8Array, file: string): Record<string, unknown> {
  try {
    return parseTomlText(Buffer.from(content).toString());
  } catch (thrown) {
    throw new BadBackup(`${file} is damaged: a configuration in it cannot be read: ${messageOf(thrown)}`);
  }
}

/**
 * Nothing is written outside of the state directory but the configuration and what it names: a backup that somebody has
 * changed could otherwise contain any file of the system.
 * @throws BadBackup
 */
async function refuseUnnamed(backup: VerifiedBackup, places: Places, file: string): Promise<void> {
  const contents = new Map<string, Uint8Array>();
  for await (const { origin, content } of backup.members()) {
    if (origin.kind === "records" || origin.kind === "state") continue;
    const target = targetOf(origin, places);
    if (target !== undefined) contents.set(target, content);
  }
  const { configurationFile } = places;
  const named = new Set<string>();
  if (configurationFile !== undefined) {
    named.add(configurationFile);
    const tablesOf = (path: string) => {
      const content = contents.get(path);
      if (content === undefined) throw new BadBackup(`${file} is incomplete: ${path} is missing`);
      return tablesIn(content, file);
    };
    for (const each of filesNamedIn(configurationFile, tablesOf)) named.add(each.file);
  }
  const unnamed = [...contents.keys()].find((path) => !named.has(path));
  if (unnamed !== undefined)
    throw new BadBackup(`${file} is damaged: it contains ${unnamed}, which its configuration does not name`);
}

/** The place of a file; undefined for records. @throws RestoreRefused for a path that leads out of the state */
function targetOf(
  { kind, path }: BackupOrigin,
  { configurationFile = "", stateDirectory }: Places,
): string | undefined {
  switch (kind) {
    case "configuration":
      return configurationFile;
    case "absolute":
      return path;
    case "relative":
      return resolve(dirname(configurationFile), path);
    case "state": {
      const target = resolve(stateDirectory, path);
      if (!target.startsWith(`${stateDirectory}/`)) throw new RestoreRefused(`${path} is not in the state directory`);
      return target;
    }
    case "records":
      return undefined;
    default:
      return kind satisfies never;
  }
}

/** @throws RestoreRefused if the directory has any content but that of an interrupted restore */
async function refuseOccupied(directory: string): Promise<void> {
  if (existsSync(unfinishedMarkIn(directory))) return;
  const names = await readdir(directory).catch((thrown: unknown) => {
    if (systemCodeOf(thrown) === "ENOENT") return [];
    throw new RestoreRefused(`cannot read ${directory}: ${fileReasonOf(thrown)}`);
  });
  const [present] = names.filter((name) => !isMarkOrLock(name));
  if (present === undefined) return;
  throw new RestoreRefused(
    `the state directory ${directory} is not empty: it contains ${present}; --force sets its content aside`,
  );
}

/** What is in a state directory, without marks, locks, and what was set aside. */
async function stateNamesIn(directory: string): Promise<readonly string[]> {
  return (await readdir(directory)).filter((name) => !isMarkOrLock(name) && !name.startsWith(asidePrefix));
}

/** @throws RestoreRefused if the directory has content, but not that of a server's state: it may be a wrong path */
async function refuseForeign(directory: string): Promise<void> {
  if (!existsSync(directory) || existsSync(unfinishedMarkIn(directory))) return;
  const names = await stateNamesIn(directory);
  // Also without a database that was removed because it was damaged.
  if (names.length === 0 || names.some((name) => /^(database|version\.json)/.test(name))) return;
  throw new RestoreRefused(
    `${directory} is not the state directory of a server: it contains ${names[0]}; empty it, or name another with --state`,
  );
}

/** Moves everything in a state directory into a new directory in it. @returns undefined if there was nothing */
async function setStateAside(directory: string): Promise<string | undefined> {
  const names = await stateNamesIn(directory);
  if (names.length === 0) return undefined;
  const aside = join(directory, `${asidePrefix}${new Date(systemClock()).toISOString().replaceAll(/[-:.]/g, "")}`);
  await mkdir(aside, { mode: 0o700 });
  for (const name of names) await rename(join(directory, name), join(aside, name));
  return aside;
}

const asidePrefix = "before-restore-";

function recordsIn({ name, content }: BackupMember) {
  try {
    const lines = Buffer.from(content).toString().split("\n");
    const records = lines.filter((line) => line !== "").map(parseRecord);
    const foreign = records.find(({ database }) => !isLastingDatabase(database));
    if (foreign !== undefined) throw new BadBackup(`${name} has records of ${foreign.database}, which is unknown`);
    return records;
  } catch (thrown) {
    if (thrown instanceof BadBackup) throw thrown;
    // The message of a parser may quote a cap.
    throw new BadBackup(`${name} cannot be read`);
  }
}

/** Raises each Date, so that no suite's next Date is earlier than one that was served after the backup. */
function raised(content: Uint8Array, afterSeconds: number): Buffer {
  const dates = parseJsonIntegers(Buffer.from(content).toString());
  const later = [...dates].map(([suite, seconds]) => [suite, Math.max(seconds, afterSeconds)]);
  return Buffer.from(`${JSON.stringify(Object.fromEntries(later))}\n`);
}
