// A real grid on this machine for the benchmark. Its packages are uploaded once and kept; every run links a new tree.
import { mkdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import pLimit from "p-limit";
import { ContentId } from "../../src/base/content-id.ts";
import type { TreePath } from "../../src/base/names.ts";
import { parseTreePath, pathNames, rootPath } from "../../src/base/names.ts";
import { Secret } from "../../src/base/secret.ts";
import { writeSecretFile } from "../../src/base/secret-file.ts";
import { inspectContent } from "../../src/catalog/inspection/inspect.ts";
import { defaultInspectLimits } from "../../src/catalog/inspection/inspect-limits.ts";
import { entryMetadataOf } from "../../src/catalog/metadata/entry-metadata.ts";
import type { Grid } from "../../src/local/grid/grid.ts";
import { startGrid } from "../../src/local/grid/grid.ts";
import type { Tahoe } from "../../src/local/grid/install.ts";
import { installTahoe } from "../../src/local/grid/install.ts";
import type { ReadCap, WriteCap } from "../../src/storage/tahoe/caps.ts";
import { Webapi } from "../../src/storage/tahoe/webapi.ts";
import type { Link } from "../../src/storage/tahoe/webapi-writer.ts";
import { WebapiWriter } from "../../src/storage/tahoe/webapi-writer.ts";
import { inChunks } from "../support/debs.ts";
import type { BenchContext } from "./bench-context.ts";
import { syntheticDeb } from "./corpus.ts";
import { ask } from "./http.ts";

const parallelUploads = 8;

/** A tree in the grid. */
export interface GridTree {
  readonly root: WriteCap;
  readonly readCap: ReadCap;
  /** The configuration that serves it. */
  readonly configuration: string;
}

export class BenchGrid {
  readonly grid: Grid;
  readonly tahoe: Tahoe;
  readonly webapi: Webapi;
  readonly writer: WebapiWriter;
  readonly #bench: BenchContext;

  /** Started once in a run, and stopped with it. */
  static async open(bench: BenchContext): Promise<BenchGrid> {
    const { tahoeDirectory, corpora, progress } = bench.options;
    const { signal } = bench;
    const searchPath = process.env.PATH ?? "";
    const tahoe = await installTahoe({ directory: tahoeDirectory, searchPath, progress, signal });
    const directory = join(corpora, "grid");
    mkdirSync(directory, { recursive: true });
    const grid = await startGrid({ directory, tahoe, progress, signal });
    bench.atEnd(() => grid.stop());
    return new BenchGrid(bench, grid, tahoe);
  }

  private constructor(bench: BenchContext, grid: Grid, tahoe: Tahoe) {
    this.#bench = bench;
    this.grid = grid;
    this.tahoe = tahoe;
    this.webapi = new Webapi(grid.webapiUrl);
    this.writer = new WebapiWriter(this.webapi);
  }

  async emptyTree(): Promise<GridTree> {
    const { signal } = this.#bench;
    const root = await this.writer.createDirectory(signal);
    const readCap = await this.writer.readCapOf(root, signal);
    const file = this.#bench.path("readcap");
    await writeSecretFile(file, readCap);
    const configuration = `webapi = [${JSON.stringify(this.grid.webapiUrl)}]\nreadcap_file = ${JSON.stringify(file)}`;
    return { root, readCap, configuration };
  }

  /** Links the corpus' packages of these numbers into one directory, in one write. */
  async fill({ root }: GridTree, path: TreePath, numbers: readonly number[], withMetadata: boolean): Promise<void> {
    const { signal } = this.#bench;
    const limit = pLimit(parallelUploads);
    const links = await Promise.all(numbers.map((number) => limit(() => this.#link(number, withMetadata))));
    await this.writer.link(await this.writer.makeDirectory(root, path, signal), new Map(links), signal);
  }

  /** Links a directory into a tree. */
  async linkDirectory({ root }: GridTree, path: TreePath, directory: ReadCap): Promise<void> {
    const names = [root.reveal(), ...pathNames(path)];
    const body = Buffer.from(directory.reveal());
    const { webapi } = this;
    const timeoutMs = webapi.limits.writeTimeoutMs;
    const reply = await webapi.request(
      { method: "PUT", names, query: "t=uri&replace=true", body, timeoutMs, path },
      this.#bench.signal,
    );
    reply.close();
    if (reply.status >= 300) throw new Error(`the gateway answers ${reply.status} to a link`);
  }

  /** Lists directories and all below them, each by its own cap and side by side. @returns seconds */
  async walk(readCap: string): Promise<number> {
    const begunMs = performance.now();
    await this.#walk(readCap);
    return (performance.now() - begunMs) / 1000;
  }

  /**
   * Lists one directory and reads a file that nobody has read yet: no server can do without. From a root and by a path,
   * no server can that trusts no cap of yesterday.
   * @returns seconds
   */
  async rawCalls(from: ReadCap, bytes: Uint8Array, path = rootPath): Promise<number> {
    const { signal } = this.#bench;
    const content = await this.writer.upload(bytes, signal);
    const begunMs = performance.now();
    await this.#get(`${[from.reveal(), ...pathNames(path)].map(encodeURIComponent).join("/")}?t=json`);
    await this.#get(encodeURIComponent(content.reveal()));
    return (performance.now() - begunMs) / 1000;
  }

  async readCapAt({ root }: GridTree, path: string): Promise<ReadCap> {
    const { signal } = this.#bench;
    return this.writer.readCapOf(await this.writer.makeDirectory(root, parseTreePath(path), signal), signal);
  }

  async #link(number: number, withMetadata: boolean): Promise<readonly [string, Link]> {
    const { name, bytes } = await syntheticDeb(number);
    return [name, { content: await this.#content(number, bytes), metadata: await this.#metadata(bytes, withMetadata) }];
  }

  async #metadata(bytes: Buffer, wanted: boolean): Promise<unknown> {
    if (!wanted) return undefined;
    const options = { limits: defaultInspectLimits, algorithms: ["md5", "sha256"] as const };
    const inspection = await inspectContent("binary", inChunks(bytes), options);
    if (inspection.kind === "rejected") throw new Error(inspection.text);
    return entryMetadataOf(inspection);
  }

  async #content(number: number, bytes: Buffer): Promise<ContentId> {
    const { signal, options } = this.#bench;
    const file = join(options.corpora, "grid", `package-${number}.cap`);
    const kept = await readFile(file, "utf8").catch(() => undefined);
    if (kept !== undefined) return new ContentId(kept);
    const content = await this.writer.upload(bytes, signal);
    await writeSecretFile(file, new Secret(content.reveal()));
    return content;
  }

  async #walk(cap: string): Promise<void> {
    const listing: unknown = JSON.parse((await this.#get(`${encodeURIComponent(cap)}?t=json`)).toString());
    const [, { children }] = listing as [string, { readonly children: Readonly<Record<string, Child>> }];
    const below = Object.values(children).filter(([kind]) => kind === "dirnode");
    await Promise.all(below.map(([, { ro_uri: uri }]) => this.#walk(uri)));
  }

  async #get(path: string): Promise<Buffer> {
    const { status, body } = await ask("GET", `${this.grid.webapiUrl}/uri/${path}`, { signal: this.#bench.signal });
    // The path is a cap, and so is no part of what is said.
    if (status !== 200) throw new Error(`the gateway answers ${status}`);
    return body;
  }
}

type Child = readonly [kind: string, facts: { readonly ro_uri: string }];
