// What the measures share: working copies of the corpora, servers over them, new packages; made when first asked for.
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { writeSecretFile } from "../../src/base/secret-file.ts";
import { createSigningKey } from "../../src/signing/openpgp-signer.ts";
import type { BenchServerOptions } from "./bench-server.ts";
import { BenchServer } from "./bench-server.ts";
import { isInstalled, run } from "./commands.ts";
import type { Corpus } from "./corpus.ts";
import { binaryDirectory, folderCorpus, placeDeb, plainCorpus } from "./corpus.ts";
import { BenchGrid } from "./grid-bench.ts";
import type { Peer, PeerRepository } from "./peers/peer.ts";
import type { Tool } from "./tools.ts";

/** How much is measured; a small one shows that the benchmark works. */
export interface Scale {
  readonly small: number;
  readonly middle: number;
  readonly large: number;
  /** On the grid. */
  readonly grid: number;
  /** With entry metadata, on the grid. */
  readonly listed: number;
  /** How often what is fast is repeated. */
  readonly rounds: number;
  /** How often what is slow is repeated. */
  readonly slowRounds: number;
  /** How long each load of requests lasts. */
  readonly loadSeconds: number;
}

export interface WorkshopOptions {
  readonly scale: Scale;
  /** Where corpora and what is made of them are kept between runs. */
  readonly corpora: string;
  /** Holds `dist/cli.js`. */
  readonly projectRoot: string;
  /** Where Tahoe-LAFS is installed. */
  readonly tahoeDirectory: string;
  readonly withPeers: boolean;
  readonly progress: (text: string) => void;
  readonly signal: AbortSignal;
}

/** A corpus in a folder of this run's own, and our server over it. */
export interface Served {
  readonly server: BenchServer;
  /** The directory of its packages. */
  readonly packages: string;
  /** From the start on an empty state to the first InRelease. */
  readonly firstIndexSeconds: number;
}

/** Above every corpus' own numbers; no multiple of five, so that it is no package for all architectures. */
const firstNewNumber = 1_000_001;

export class BenchContext {
  readonly options: WorkshopOptions;
  readonly scale: Scale;
  readonly signal: AbortSignal;
  /** For this run alone, on the file system of the corpora. */
  readonly scratch: string;
  readonly notes = new Set<string>();
  readonly #folders = new Map<string, Promise<string>>();
  readonly #served = new Map<number, Promise<Served>>();
  readonly #closers: (() => Promise<void>)[] = [];
  #grid: Promise<BenchGrid> | undefined;
  #newNumber = firstNewNumber;
  #directories = 0;

  constructor(options: WorkshopOptions) {
    this.options = options;
    this.scale = options.scale;
    this.signal = options.signal;
    mkdirSync(options.corpora, { recursive: true });
    this.scratch = mkdtempSync(join(options.corpora, "run-"));
  }

  /** Whether a peer may be measured; what is missing is noted. */
  has({ program, debianPackage }: Tool): boolean {
    if (!this.options.withPeers) return false;
    if (isInstalled(program)) return true;
    this.notes.add(`${program} is not installed (apt-get install ${debianPackage}): what it is for was left out.`);
    return false;
  }

  /** A path in the scratch directory that nothing has yet. */
  path(name: string): string {
    this.#directories += 1;
    return join(this.scratch, `${this.#directories}-${name}`);
  }

  /** A copy of a corpus that this run may change. @returns the directory of its packages */
  async packages(count: number, corpus = plainCorpus): Promise<string> {
    const name = `${corpus.name}-${count}`;
    const copying = this.#folders.get(name) ?? this.#copy(count, corpus);
    this.#folders.set(name, copying);
    return await copying;
  }

  /** Our server over such a copy, ready. */
  async served(count: number): Promise<Served> {
    const starting = this.#served.get(count) ?? this.#serve(count);
    this.#served.set(count, starting);
    return await starting;
  }

  /** A real grid, running. */
  async grid(): Promise<BenchGrid> {
    this.#grid ??= BenchGrid.open(this);
    return await this.#grid;
  }

  /** A server of ours that has not started yet, stopped at the end of the run. */
  async server(
    name: string,
    tree: string,
    more: Pick<BenchServerOptions, "maxDescriptors" | "workers"> = {},
  ): Promise<BenchServer> {
    const server = await BenchServer.prepare({
      ...more,
      directory: this.path(name),
      tree,
      signingKeyFile: await this.#signingKey(),
      program: join(this.options.projectRoot, "dist/cli.js"),
      signal: this.signal,
    });
    this.atEnd(async () => {
      server.memory.stop();
      await server.stop();
    });
    return server;
  }

  async peer(peer: Peer, count: number): Promise<PeerRepository> {
    this.options.progress(`preparing ${peer.name} with ${count} packages`);
    const directory = this.path("peer");
    mkdirSync(directory);
    const packages = await this.packages(count);
    return await peer.open({ directory, packages, count, kept: this.options.corpora, signal: this.signal });
  }

  /** A package that no corpus has, as a file outside of all trees. */
  async newDeb(
    corpus = plainCorpus,
  ): Promise<{ readonly name: string; readonly bytes: Buffer; readonly file: string }> {
    const number = this.#newNumber;
    this.#newNumber += number % 5 === 4 ? 2 : 1;
    const deb = await corpus.deb(number);
    const directory = join(this.scratch, "incoming");
    mkdirSync(directory, { recursive: true });
    placeDeb(directory, deb.name, deb.bytes);
    return { ...deb, file: join(directory, deb.name) };
  }

  atEnd(close: () => Promise<void>): void {
    this.#closers.push(close);
  }

  async close(): Promise<void> {
    for (const close of this.#closers.toReversed()) await close();
    rmSync(this.scratch, { recursive: true, force: true });
  }

  async #copy(count: number, corpus: Corpus): Promise<string> {
    this.options.progress(`preparing ${count} packages`);
    const original = await folderCorpus(this.options.corpora, count, corpus);
    const folder = this.path(`folder-${count}`);
    await run("cp", ["-a", original, folder], { signal: this.signal });
    return join(folder, binaryDirectory);
  }

  async #serve(count: number): Promise<Served> {
    const packages = await this.packages(count);
    this.options.progress(`serving ${count} packages`);
    const server = await this.server(`server-${count}`, folderTree(packages));
    return { server, packages, firstIndexSeconds: await server.start() };
  }

  async #signingKey(): Promise<string> {
    const file = join(this.options.corpora, "signing-key.asc");
    const there = await readFile(file).catch(() => undefined);
    if (there === undefined) await writeSecretFile(file, await createSigningKey({ name: "Bench", now: Date.now }));
    return file;
  }
}

/** The configuration of a folder. @param packages the directory of its packages */
export const folderTree = (packages: string): string =>
  `folder = ${JSON.stringify(packages.slice(0, -binaryDirectory.length))}`;
