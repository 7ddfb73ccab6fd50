// Finds the files that a configuration names: secrets, keys, certificates, and the file of builders.
import { dirname, isAbsolute, resolve } from "node:path";
import { readToml } from "./config-values.ts";
import type { PathOf } from "./file-paths.ts";
import { credentialsBeside, pathsFrom } from "./file-paths.ts";

/** The directory of the state if the configuration names none. */
export const defaultState = ".tahoe-apt/server";

/** The key of a file with further tables, which name files relative to itself. */
const nestedKey = "builders_file";

export interface NamedFile {
  /** An absolute path. */
  readonly file: string;
  /** Whether the file stays where it is if the configuration is moved. */
  readonly isAbsolute: boolean;
}

/**
 * @param read returns the tables of a file, by its absolute path
 * @returns the values of all keys that end with `_file`, each once
 * @throws Error of reading
 */
export function filesNamedIn(configurationFile: string, read: typeof readToml = readToml): readonly NamedFile[] {
  const found = new Map<string, NamedFile>();
  // A restore asks for the files that it is about to write, so they need not exist.
  const credentialPath = credentialsBeside(dirname(resolve(configurationFile)));
  const top = { file: resolve(configurationFile), isAbsolute: false };
  collect(read(top.file), { by: top, credentialPath, found, read });
  return [...found.values()];
}

interface Search {
  /** The file that the table is in. */
  readonly by: NamedFile;
  readonly credentialPath: PathOf;
  readonly found: Map<string, NamedFile>;
  readonly read: typeof readToml;
}

function collect(table: object, { by, credentialPath, found, read }: Search): void {
  const pathOf = pathsFrom(dirname(by.file), credentialPath);
  for (const [key, value] of Object.entries<unknown>({ ...table })) {
    if (key.endsWith("_file")) {
      for (const name of [value].flat()) {
        if (typeof name !== "string") continue;
        const named = { file: pathOf(name), isAbsolute: by.isAbsolute || isAbsolute(name) };
        const isNew = !found.has(named.file);
        if (isNew || named.isAbsolute) found.set(named.file, named);
        if (key === nestedKey && isNew) {
          collect(read(named.file), { by: named, credentialPath, found, read });
        }
      }
    } else if (typeof value === "object" && value !== null) collect(value, { by, credentialPath, found, read });
  }
}

/** The state directory that a configuration in the directory `base` names. @param raw the parsed file */
export const stateDirectoryOf = ({ state }: { readonly state?: unknown }, base: string): string =>
  resolve(base, typeof state === "string" ? state : defaultState);
