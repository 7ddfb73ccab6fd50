// Makes a backup: the configuration with the files that it names, and the part of the state that the tree cannot give
// back.
import { readdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { systemClock } from "../base/clock.ts";
import { fileReasonOf, messageOf, RepoError, systemCodeOf } from "../base/errors.ts";
import { parseJsonIntegers } from "../base/json-integers.ts";
import { silentLog } from "../base/log.ts";
import { ownVersion } from "../base/own-version.ts";
import { createFile } from "../base/replace-file.ts";
import { filesNamedIn } from "../config/named-files.ts";
import { overridesFileName } from "../config/overrides-file.ts";
import { latest } from "../publishing/store/last-dates.ts";
import type { BackupMember, BackupOrigin } from "./backup-archive.ts";
import { writeArchive } from "./backup-archive.ts";
import { FileOwners } from "./file-owners.ts";
import {
  lastDatesName,
  pingTokenName,
  repositoriesIn,
  repositoryDirectoryIn,
  signingKeyName,
} from "./state-directory.ts";
import { formatRecord, stateItems } from "./state-records.ts";
import { checkState, stateFormat } from "./state-version.ts";

/** The backup cannot be written, or something that belongs to it cannot be read. */
class BackupRefused extends RepoError {
  readonly code = "backup/refused";
}

export interface BackupRequest {
  /** The file to create. */
  readonly file: string;
  /** An absolute path; undefined: the server has no configuration file. */
  readonly configurationFile: string | undefined;
  readonly stateDirectory: string;
  /** Whether the configuration names the state directory. */
  readonly isStateConfigured: boolean;
}

export interface BackupSummary {
  readonly file: string;
  readonly sizeBytes: number;
  readonly repositories: readonly string[];
  /** How many files of the configuration, with itself, and of the state it contains. */
  readonly configurationFiles: number;
  readonly stateFiles: number;
  /** The last Date of each suite, in seconds since the epoch, by repository and suite. */
  readonly dates: Readonly<Record<string, number>>;
  readonly pins: number;
}

/** The files of each repository's directory in the state directory that only this server has. */
const lastingFiles = [signingKeyName, pingTokenName, overridesFileName];
/** How many bytes of records are collected for one member. This bounds memory. */
const recordsPerMember = 4 * 1024 ** 2;

/**
 * Makes a backup beside a running server or without one. Nothing is written if it fails.
 * @throws BackupRefused, BackupFailed, StateTooNew, RestoreUnfinished
 */
export async function makeBackup(request: BackupRequest): Promise<BackupSummary> {
  const { file, stateDirectory, isStateConfigured } = request;
  if (await exists(file)) throw new BackupRefused(`${file} exists already: choose another name, or remove it`);
  checkState(stateDirectory, silentLog);
  const members = new Members(request);
  const repositories = await members.repositories();
  const about = {
    program: ownVersion(),
    createdMs: systemClock(),
    stateFormat,
    state: { directory: stateDirectory, isConfigured: isStateConfigured },
    repositories,
  };
  const isCreated = await createFile(file, writeArchive(about, members.all(repositories)), { mode: 0o600 });
  if (!isCreated) throw new BackupRefused(`${file} exists already: choose another name, or remove it`);
  const { size: sizeBytes } = await stat(file);
  return { file, sizeBytes, repositories, ...members.counts };
}

class Members {
  readonly #request: BackupRequest;
  readonly #owners = new FileOwners();
  counts = { configurationFiles: 0, stateFiles: 0, dates: {} as Record<string, number>, pins: 0 };

  constructor(request: BackupRequest) {
    this.#request = request;
  }

  /** The repositories that have a directory in the state directory. */
  async repositories(): Promise<readonly string[]> {
    const names = await readdir(repositoriesIn(this.#request.stateDirectory)).catch((): string[] => []);
    return names.toSorted();
  }

  async *all(repositories: readonly string[]): AsyncIterable<BackupMember> {
    yield* this.#configuration();
    for (const name of repositories.flatMap((each) =>
      lastingFiles.map((one) => join(repositoryDirectoryIn("", each), one)),
    )) {
      const member = await this.#member("state", join(this.#request.stateDirectory, name), `state/${name}`, name);
      if (member === undefined) continue;
      this.counts.stateFiles += 1;
      yield member;
    }
    yield* this.#records();
  }

  async *#configuration(): AsyncIterable<BackupMember> {
    const { configurationFile } = this.#request;
    if (configurationFile === undefined) return;
    const named = filesNamedIn(configurationFile).map(({ file, isAbsolute }) =>
      isAbsolute
        ? ({ kind: "absolute", file, path: file } as const)
        : ({ kind: "relative", file, path: relative(dirname(configurationFile), file) } as const),
    );
    const own = { kind: "configuration", file: configurationFile, path: configurationFile } as const;
    for (const [index, { kind, file, path }] of [own, ...named].entries()) {
      // The number makes the name unique; the rest is for people.
      const name = `configuration/${index}/${basename(file).slice(-60)}`;
      const member = await this.#member(kind, file, name, path);
      if (member === undefined) throw new BackupRefused(`${file}, which the configuration names, does not exist`);
      this.counts.configurationFiles += 1;
      yield member;
    }
  }

  async *#records(): AsyncIterable<BackupMember> {
    const own = this.#owners.namesOf(await stat(this.#request.stateDirectory));
    const kept = await this.#keptDates();
    let lines: string[] = [];
    let bytes = 0;
    let number = 0;
    const flush = (): BackupMember => {
      number += 1;
      const path = `records/${String(number).padStart(6, "0")}.jsonl`;
      const content = Buffer.from(lines.join(""));
      [lines, bytes] = [[], 0];
      return { name: path, origin: { kind: "records", path, mode: 0o600, ...own }, content };
    };
    for await (const item of stateItems(this.#request.stateDirectory)) {
      if ("dates" in item) {
        for (const [suite, seconds] of item.dates) kept.set(suite, latest(kept.get(suite), seconds) ?? seconds);
        this.counts.dates = Object.fromEntries(kept);
        const content = Buffer.from(`${JSON.stringify(this.counts.dates)}\n`);
        const origin: BackupOrigin = { kind: "state", path: lastDatesName, mode: 0o600, ...own };
        yield { name: `state/${lastDatesName}`, origin, content };
        continue;
      }
      if (item.database.endsWith("/pins")) this.counts.pins += 1;
      const text = `${formatRecord(item)}\n`;
      lines.push(text);
      bytes += text.length;
      if (bytes > recordsPerMember) yield flush();
    }
    if (lines.length > 0) yield flush();
  }

  /** The Dates in the file beside the database; a damaged file counts as empty, because the database has them too. */
  async #keptDates(): Promise<Map<string, number>> {
    try {
      return parseJsonIntegers(await readFile(join(this.#request.stateDirectory, lastDatesName), "utf8"));
    } catch {
      return new Map();
    }
  }

  /** @returns undefined if the file does not exist */
  async #member(
    kind: BackupOrigin["kind"],
    file: string,
    name: string,
    path: string,
  ): Promise<BackupMember | undefined> {
    try {
      const status = await stat(file);
      const origin = { kind, path, mode: status.mode & 0o777, ...this.#owners.namesOf(status) };
      return { name, origin, content: await readFile(file) };
    } catch (thrown) {
      if (systemCodeOf(thrown) === "ENOENT") return undefined;
      throw new BackupRefused(`cannot read ${file}: ${fileReasonOf(thrown)}`);
    }
  }
}

async function exists(file: string): Promise<boolean> {
  const parent = await stat(dirname(file)).catch((thrown: unknown) => {
    throw new BackupRefused(`cannot write ${file}: ${messageOf(thrown)}`);
  });
  if (!parent.isDirectory()) throw new BackupRefused(`cannot write ${file}: ${dirname(file)} is not a directory`);
  return (await stat(file).catch(() => undefined)) !== undefined;
}
