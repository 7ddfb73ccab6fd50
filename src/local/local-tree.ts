// A tree of one's own, in a Tahoe grid on this machine: made on the first run and found again on all others.
import { execFile } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { TreePath } from "../base/names.ts";
import { parseTreePath } from "../base/names.ts";
import { openSecretFile, writeSecretFile } from "../base/secret-file.ts";
import type { WriteCap } from "../storage/tahoe/caps.ts";
import { parseWriteCap } from "../storage/tahoe/caps.ts";
import { Webapi } from "../storage/tahoe/webapi.ts";
import { WebapiWriter } from "../storage/tahoe/webapi-writer.ts";
import type { Grid } from "./grid/grid.ts";
import { startGrid } from "./grid/grid.ts";
import type { Tahoe } from "./grid/install.ts";
import { installTahoe } from "./grid/install.ts";

/** The suite of a tree that we make. */
export const localSuite = "sid";

/** A directory that a builder may write to, and nothing else. */
export interface BuilderDirectory {
  readonly path: TreePath;
  /** How the `tahoe` command calls it: `ALIAS:`. */
  readonly alias: string;
}

export interface LocalTree {
  readonly tahoe: Tahoe;
  readonly grid: Grid;
  readonly architecture: string;
  readonly binaries: BuilderDirectory;
  readonly sources: BuilderDirectory;
  /** Files of mode 0600, one cap in each, but for the bundle. */
  readonly capFiles: {
    readonly root: string;
    readonly readCap: string;
    readonly binaries: string;
    readonly sources: string;
    /** Where a bundle of both is to be; who knows the server writes it. */
    readonly bundle: string;
  };
}

export interface LocalTreeOptions {
  /** Where the virtual environment of Tahoe is kept. */
  readonly tahoeDirectory: string;
  /** Where the grid, with all its bytes, is kept. */
  readonly gridDirectory: string;
  readonly capsDirectory: string;
  readonly searchPath: string;
  readonly progress: (step: string) => void;
  readonly signal: AbortSignal;
}

/**
 * Installs Tahoe, starts the grid, and makes of the tree what is not there yet. Who calls it stops the grid.
 * @throws ToolMissing, InstallFailed, GridFailed, StorageUnavailable
 */
export async function openLocalTree(options: LocalTreeOptions): Promise<LocalTree> {
  const { capsDirectory, progress, searchPath, signal } = options;
  const tahoe = await installTahoe({ directory: options.tahoeDirectory, progress, signal, searchPath });
  const grid = await startGrid({ directory: options.gridDirectory, tahoe, progress, signal });
  try {
    const architecture = await machineArchitecture();
    const binaries = {
      path: parseTreePath(`dists/${localSuite}/main/binary-${architecture}/builder`),
      alias: "builder",
    };
    const sources = { path: parseTreePath(`dists/${localSuite}/main/source/builder`), alias: "builder-source" };
    const capFiles = {
      root: join(capsDirectory, "root.writecap"),
      readCap: join(capsDirectory, "root.readcap"),
      binaries: join(capsDirectory, "builder.writecap"),
      sources: join(capsDirectory, "builder-source.writecap"),
      bundle: join(capsDirectory, "builder.bundle"),
    };
    await mkdir(capsDirectory, { recursive: true, mode: 0o700 });
    const writer = new WebapiWriter(new Webapi(grid.webapiUrl));
    const root = await kept(capFiles.root, () => writer.createDirectory(signal));
    await kept(capFiles.binaries, () => writer.makeDirectory(root, binaries.path, signal), grid, binaries.alias);
    await kept(capFiles.sources, () => writer.makeDirectory(root, sources.path, signal), grid, sources.alias);
    await writeSecretFile(capFiles.readCap, await writer.readCapOf(root, signal));
    return { tahoe, grid, architecture, binaries, sources, capFiles };
  } catch (thrown) {
    await grid.stop();
    throw thrown;
  }
}

/** The write cap in a file; where there is none yet, it is made and kept there. */
async function kept(file: string, make: () => Promise<WriteCap>, grid?: Grid, alias?: string): Promise<WriteCap> {
  const cap = parseWriteCap((await openSecretFile(file, make)).reveal());
  if (grid !== undefined && alias !== undefined) await grid.addAlias(alias, cap);
  return cap;
}

/** dpkg's word for this machine; without dpkg, a guess from Node's. */
async function machineArchitecture(): Promise<string> {
  const guesses = new Map([
    ["x64", "amd64"],
    ["ia32", "i386"],
    ["arm", "armhf"],
    ["ppc64", "ppc64el"],
  ]);
  return await promisify(execFile)("dpkg", ["--print-architecture"]).then(
    ({ stdout }) => stdout.trim(),
    () => guesses.get(process.arch) ?? process.arch,
  );
}
