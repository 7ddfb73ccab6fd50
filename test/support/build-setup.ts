// Updates dist/ once before the tests: worker threads and the command line run from there.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

/** Called by vitest. A type error does not stop the other tests; the house tests report it. */
export default function setup(): void {
  const bootstrap = fileURLToPath(new URL("../../src/bootstrap.mjs", import.meta.url));
  const built = spawnSync(process.execPath, [bootstrap, "build"], { encoding: "utf8" });
  if (built.status !== 0) process.stderr.write(`the build has errors:\n${built.stdout}${built.stderr}`);
}
