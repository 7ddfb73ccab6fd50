// The state directory of a server: where its parts are, and how it is created.
import type { FileHandle } from "node:fs/promises";
import { mkdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { systemCodeOf } from "../base/errors.ts";
import { ConfigurationError } from "../config/configuration-error.ts";

const mode = 0o700;

/** The file with the last Date of each suite, beside the database. */
export const lastDatesName = "last-dates.json";
/** The signing key and the token for pings in the directory of a repository, if the server made them. */
export const signingKeyName = "signing-key.asc";
export const pingTokenName = "ping-token";

export const databaseIn = (stateDirectory: string): string => join(stateDirectory, "database");

/** The directory with the directories of all repositories. */
export const repositoriesIn = (stateDirectory: string): string => join(stateDirectory, "repositories");

/** The directory with the data of one repository, beside the database. */
export const repositoryDirectoryIn = (stateDirectory: string, repository: string): string =>
  join(repositoriesIn(stateDirectory), repository);

/**
 * The path of a socket in a directory. The path of a socket is limited to about 100 characters; on Linux, this one is
 * short for every directory, as long as the directory is open.
 */
export const socketPathIn = (directory: string, { fd }: Pick<FileHandle, "fd">, name: string): string =>
  process.platform === "linux" ? `/proc/self/fd/${fd}/${name}` : join(directory, name);

/** @throws ConfigurationError if the directory cannot be created */
export async function makeStateDirectory(directory: string): Promise<void> {
  try {
    await make(directory);
  } catch (thrown) {
    const code = systemCodeOf(thrown);
    const why = code === "EEXIST" ? "not a directory" : (code ?? "unknown error");
    throw new ConfigurationError([`the state directory ${directory} cannot be created: ${why}`]);
  }
}

/** Level by level: Node's recursive mkdir never ends below a directory that takes no entries, such as /proc. */
async function make(directory: string): Promise<void> {
  const known = await stat(directory).catch(() => undefined);
  if (known?.isDirectory() === true) return;
  const parent = dirname(directory);
  if (known === undefined && parent !== directory) await make(parent);
  await mkdir(directory, { mode }).catch((thrown: unknown) => {
    // Another process may have created it meanwhile.
    if (known !== undefined || systemCodeOf(thrown) !== "EEXIST") throw thrown;
  });
}
