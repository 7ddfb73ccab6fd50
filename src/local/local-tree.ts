// A tree in a local Tahoe grid, which the first run creates and later runs open again.
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

/** The suite of the local tree. */
export const localSuite = "sid";

/** A directory with its own write cap for a builder. */
export interface BuilderDirectory {
  readonly path: TreePath;
  /** The alias for the `tahoe` command, which calls the directory `ALIAS:`. */
  readonly alias: string;
}

export interface LocalTree {
  readonly tahoe: Tahoe;
  readonly grid: Grid;
  readonly architecture: string;
  /** Whether the builder's directory for binary packages is empty. */
  readonly isNew: boolean;
  readonly binaries: BuilderDirectory;
  readonly sources: BuilderDirectory;
  /** Files of mode 0600; each contains one cap, except the bundle. */
  readonly capFiles: {
    readonly root: string;
    readonly readCap: string;
    readonly binaries: string;
    readonly sources: string;
    /** Path for the bundle of both directories. The caller writes it, because it needs the server's URL. */
    readonly bundle: string;
  };
}

export interface LocalTreeOptions {
  /** The virtual environment with Tahoe. */
  readonly tahoeDirectory: string;
  /** The grid's node and its storage. */
  readonly gridDirectory: string;
  readonly capsDirectory: string;
  readonly searchPath: string;
  readonly progress: (step: string) => void;
  readonly signal: AbortSignal;
}

/**
 * Installs Tahoe, starts the grid, and creates the missing parts of the tree. The caller must stop the grid.
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
    const root = await openDirectory(capFiles.root, () => writer.createDirectory(signal));
    const own = await openDirectory(
      capFiles.binaries,
      () => writer.makeDirectory(root, binaries.path, signal),
      grid,
      binaries.alias,
    );
    await openDirectory(capFiles.sources, () => writer.makeDirectory(root, sources.path, signal), grid, sources.alias);
    await writeSecretFile(capFiles.readCap, await writer.readCapOf(root, signal));
    const isNew = (await writer.list(own, signal)).size === 0;
    return { tahoe, grid, architecture, isNew, binaries, sources, capFiles };
  } catch (thrown) {
    await grid.stop();
    throw thrown;
  }
}

/** Reads a write cap from a file; if there is no file, creates the directory and stores its cap. */
async function openDirectory(
  file: string,
  create: () => Promise<WriteCap>,
  grid?: Grid,
  alias?: string,
): Promise<WriteCap> {
  const cap = parseWriteCap((await openSecretFile(file, create)).reveal());
  if (grid !== undefined && alias !== undefined) await grid.addAlias(alias, cap);
  return cap;
}

/** dpkg's name of the architecture; without dpkg, a guess from Node.js' name. */
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
