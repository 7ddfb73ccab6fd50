// A tree on the real grid that `tahoe-apt init` created, with a builder's bundle and a server, for `put` and similar.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fetch from "node-fetch";
import { parseTreePath } from "../../src/base/names.ts";
import { Secret } from "../../src/base/secret.ts";
import type { Bundle } from "../../src/client/bundle.ts";
import { formatBundle } from "../../src/client/bundle.ts";
import type { PutOutcome } from "../../src/client/upload/put.ts";
import type { WriteCap } from "../../src/storage/tahoe/caps.ts";
import { Webapi } from "../../src/storage/tahoe/webapi.ts";
import { WebapiWriter } from "../../src/storage/tahoe/webapi-writer.ts";
import { AptRoot } from "./apt.ts";
import type { CommandOptions, CommandResult } from "./command-line.ts";
import { runCommand } from "./command-line.ts";
import type { DebRecipe } from "./debs.ts";
import { aDeb } from "./debs.ts";
import { projectRoot } from "./project-files.ts";
import { ServerUnderTest } from "./server.ts";

const { signal } = new AbortController();
const token = "a-token-for-this-test-alone";

/** The directories of a builder `alice` below `dists`. */
const usualPlaces = ["sid/main/binary-amd64", "sid/main/binary-all", "sid/main/source"];

/** A package under its usual name. */
export async function namedDeb(
  recipe: DebRecipe & { readonly package: string },
): Promise<readonly [name: string, bytes: Buffer]> {
  const { version = "1.0-1", architecture = "amd64" } = recipe;
  const name = `${recipe.package}_${version.replace(/^\d+:/, "")}_${architecture}.deb`;
  return [name, await aDeb({ ...recipe, version, architecture })];
}

/** Makes `tahoe-apt` available as a command, as after an installation. @returns the directory for PATH */
export function installedCommand(work: string): string {
  const bin = mkdtempSync(join(work, "bin-"));
  const program = join(projectRoot, "dist/cli.js");
  writeFileSync(join(bin, "tahoe-apt"), `#!/bin/sh\nexec '${process.execPath}' '${program}' "$@"\n`, { mode: 0o755 });
  return bin;
}

export class InitializedTree {
  readonly work: string;
  readonly writer: WebapiWriter;
  readonly root: WriteCap;
  readonly bundle: Bundle;
  /** The bundle's file. */
  readonly file: string;
  readonly server: ServerUnderTest;

  private constructor(parts: Pick<InitializedTree, "work" | "writer" | "root" | "bundle" | "server">) {
    this.work = parts.work;
    this.writer = parts.writer;
    this.root = parts.root;
    this.bundle = parts.bundle;
    this.server = parts.server;
    this.file = this.writeBundle("alice.bundle", parts.bundle);
  }

  static async plant(webapiUrl: string, places: readonly string[] = usualPlaces): Promise<InitializedTree> {
    const work = mkdtempSync(join(tmpdir(), "tahoe-apt-tree-"));
    const writer = new WebapiWriter(new Webapi(webapiUrl));
    const root = await writer.createDirectory(signal);
    const directories = [];
    for (const place of places) {
      const path = parseTreePath(`dists/${place}/alice`);
      directories.push({ path, cap: await writer.makeDirectory(root, path, signal) });
    }
    writeFileSync(join(work, "readcap"), (await writer.readCapOf(root, signal)).reveal(), { mode: 0o600 });
    const server = await ServerUnderTest.start({
      flags: ["--webapi", webapiUrl, "--readcap-file", join(work, "readcap"), "--state", join(work, "state")],
      env: { TAHOE_APT_PING_TOKEN: token },
    });
    await server.ready();
    const ping = { url: `${server.url}/-/ping/debian`, token: new Secret(token) };
    return new InitializedTree({
      work,
      writer,
      root,
      server,
      bundle: { name: "alice", gateways: [webapiUrl], directories, ping },
    });
  }

  /** Writes a bundle into a private file. */
  writeBundle(name: string, bundle: Bundle): string {
    const file = join(this.work, name);
    writeFileSync(file, formatBundle(bundle).reveal(), { mode: 0o600 });
    return file;
  }

  /** Writes files into a new directory. @returns their paths */
  write(files: ReadonlyMap<string, Uint8Array | string>): readonly string[] {
    const directory = mkdtempSync(join(this.work, "files-"));
    return [...files].map(([name, bytes]) => {
      writeFileSync(join(directory, name), bytes);
      return join(directory, name);
    });
  }

  /** Runs `tahoe-apt put` to its end. */
  async put(
    paths: readonly string[],
    flags: readonly string[] = [],
    options: CommandOptions = {},
  ): Promise<CommandResult> {
    return await runCommand(["put", "--bundle", this.file, ...flags, ...paths], options);
  }

  /** Runs `tahoe-apt put --json` and returns its result. */
  async putJson(
    paths: readonly string[],
    ...flags: readonly string[]
  ): Promise<PutOutcome & { readonly exitCode: number | null }> {
    const { exitCode, output, printed } = await this.put(paths, ["--json", ...flags]);
    try {
      return { ...(JSON.parse(printed) as PutOutcome), exitCode };
    } catch {
      throw new Error(`put printed:\n${output}`);
    }
  }

  /** The names in one of the builder's directories, sorted. */
  async names(place: string): Promise<readonly string[]> {
    return [...(await this.entries(place)).keys()].toSorted();
  }

  /** The names in each of the builder's directories, to check that nothing changed. */
  async allNames(): Promise<readonly (readonly string[])[]> {
    return await Promise.all(
      this.bundle.directories.map(async ({ cap }) => [...(await this.writer.list(cap, signal)).keys()].toSorted()),
    );
  }

  async entries(place: string): ReturnType<WebapiWriter["list"]> {
    const directory = this.bundle.directories.find(({ path }) => path === `dists/${place}/alice`);
    if (directory === undefined) throw new Error(`the builder has nothing in ${place}`);
    return await this.writer.list(directory.cap, signal);
  }

  async apt(suite = "sid"): Promise<AptRoot> {
    const publicKey = await (await fetch(`${this.server.url}/debian/key.asc`)).text();
    return new AptRoot({ source: { url: `${this.server.url}/debian`, suite, publicKey } });
  }

  async close(): Promise<void> {
    await this.server.end();
    rmSync(this.work, { recursive: true, force: true });
  }
}
