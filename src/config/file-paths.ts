// Which file a value of the configuration means: a path, or a credential that the service manager passes.
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { demand } from "./config-values.ts";

const credentialPrefix = "credential:";
/** systemd puts this before the names of files in a directory: the packaged unit has LoadCredential=tahoe-apt:DIRECTORY. */
const directoryPrefix = "tahoe-apt_";
/** The directory that the packaged unit loads, beside the configuration file. */
const ownDirectoryName = "credentials";

/** Returns the absolute path of the file that a value means. @throws Error if it is a credential that does not exist */
export type PathOf = (raw: string) => string;

/** Relative paths are relative to `base`; `credential:NAME` is found by `credentialPath`. */
export const pathsFrom =
  (base: string, credentialPath: PathOf): PathOf =>
  (raw) =>
    raw.startsWith(credentialPrefix) ? credentialPath(raw) : resolve(base, raw);

/** Where credentials belong in the directory beside the configuration file, whether they exist or not. */
export const credentialsBeside =
  (directoryOfConfiguration: string): PathOf =>
  (raw) =>
    join(directoryOfConfiguration, ownDirectoryName, nameOfCredential(raw));

function nameOfCredential(raw: string): string {
  const name = raw.slice(credentialPrefix.length);
  demand(/^[^/\s]+$/.test(name) && !/^\.\.?$/.test(name), `${JSON.stringify(raw)} is not credential:NAME`);
  return name;
}

/**
 * Returns where credentials are: in the directory that the service manager passes to this process or, if it passes
 * none, because the program was started in a terminal, in `credentials` beside the configuration file.
 * @param passed the value of the variable CREDENTIALS_DIRECTORY
 * @see systemd.exec(5), LoadCredential=
 */
export function credentialPaths(passed: string | undefined, directoryOfConfiguration: string): PathOf {
  const pathBeside = credentialsBeside(directoryOfConfiguration);
  return (raw) => {
    const name = nameOfCredential(raw);
    if (passed === undefined) {
      const path = pathBeside(raw);
      demand(existsSync(path), `${raw}: CREDENTIALS_DIRECTORY is not set, and there is no ${path}`);
      return path;
    }
    const path = [name, `${directoryPrefix}${name}`].map((each) => join(passed, each)).find((each) => existsSync(each));
    demand(
      path !== undefined,
      `${raw}: the service manager does not pass it; add the file to the directory in LoadCredential= of the unit, or LoadCredential=${name}:FILE to the unit, and restart the service`,
    );
    return path;
  };
}
