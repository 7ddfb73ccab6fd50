// One real grid for all system tests: installed once under .tahoe-apt/, and started for each run.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { startGrid } from "../../src/local/grid/grid.ts";
import { installTahoe } from "../../src/local/grid/install.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** The URL of the grid's web API, e.g. `http://127.0.0.1:34567`. */
    webapiUrl: string;
    /** The `tahoe` command. */
    tahoe: string;
    /** The node directory of the client, for `tahoe --node-directory`. */
    nodeDirectory: string;
  }
}

/** A global set-up of vitest. The returned function stops everything. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { signal } = new AbortController();
  const venv = join(import.meta.dirname, "../../.tahoe-apt/venv");
  const tahoe = await installTahoe({
    directory: venv,
    progress: (step) => process.stderr.write(`tahoe: ${step.slice(0, 110)}\n`),
    signal,
    searchPath: process.env.PATH ?? "",
  });
  const directory = await mkdtemp(join(tmpdir(), "tahoe-apt-grid-"));
  const grid = await startGrid({ directory, tahoe, progress: () => {}, signal });
  project.provide("webapiUrl", grid.webapiUrl);
  project.provide("tahoe", tahoe.executable);
  project.provide("nodeDirectory", grid.nodeDirectory);
  return async () => {
    await grid.stop();
    await rm(directory, { recursive: true, force: true });
  };
}
