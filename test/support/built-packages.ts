// What `npm run package` builds of this checkout: once for all test files that need it, until a file changes.
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { projectFiles, projectRoot } from "./project-files.ts";

const run = promisify(execFile);

/** The longest time that it takes, on a machine that is busy with other tests. */
export const buildPackagesMs = 15 * 60_000;

/** @returns the directory that has the npm tarball and the Debian packages, and their names */
export async function builtPackages(): Promise<{ readonly directory: string; readonly files: readonly string[] }> {
  const hash = createHash("sha256");
  for (const path of projectFiles()) {
    if (!path.startsWith("test/")) hash.update(`${path}\0`).update(readFileSync(join(projectRoot, path)));
  }
  const directory = join(projectRoot, ".tahoe-apt/built-packages");
  const script = `
    [ "$(cat "$1.built-from" 2>/dev/null)" = "$2" ] && exit
    rm -rf "$1" "$1.built-from"
    npm run package -- --output "$1"
    printf %s "$2" > "$1.built-from"`;
  const args = [`${directory}.lock`, "bash", "-euc", script, "bash", directory, hash.digest("hex")];
  await run("flock", args, { cwd: projectRoot, maxBuffer: 1 << 26 });
  return { directory, files: readdirSync(directory) };
}
