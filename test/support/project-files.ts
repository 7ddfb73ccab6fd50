// The files of this project, for the house tests.
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The checkout, with a trailing slash. */
export const projectRoot = fileURLToPath(new URL("../../", import.meta.url));

/** Every file that is or could be committed: paths relative to the checkout, sorted. */
export function projectFiles(): readonly string[] {
  const listing = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard", "-z"], {
    cwd: projectRoot,
    encoding: "utf8",
  });
  return [...new Set(listing.split("\0"))].filter((path) => path !== "" && existsSync(join(projectRoot, path))).sort();
}

/** The TypeScript files below `src/`. */
export const sourceFiles = (): readonly string[] => projectFiles().filter((path) => /^src\/.*\.ts$/.test(path));

export const readProjectFile = (path: string): string => readFileSync(join(projectRoot, path), "utf8");
