// `npm run demo`: the whole story once, by itself, with the real tahoe, the real apt, and packages made on the spot.

import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { z } from "zod";
import { RepoError } from "../base/errors.ts";
import { silentLog } from "../base/log.ts";
import { loadConfiguration, searchPath } from "../config/load-config.ts";
import { serve } from "../server/serve.ts";
import { ToolMissing } from "./grid/python.ts";
import type { LocalTree } from "./local-tree.ts";
import { openLocalTree } from "./local-tree.ts";
import { localDirectory, makePingFiles, seldom } from "./start.ts";

const toolTimeoutMs = 120_000;
const pingWaitSeconds = 60;
const repository = "demo";

/** What the demo needs of an answer to a ping. */
const pingAnswer = z.object({ added: z.array(z.string()) });

/** The demo shows what it says, or fails. */
class DemoFailed extends RepoError {
  readonly code = "demo/failed";
}

interface Surroundings {
  readonly signal: AbortSignal;
  readonly say: (text: string) => void;
}

/** Resolves when the story is told and everything that it made is gone. */
export async function demo({ signal, say }: Surroundings): Promise<void> {
  for (const [tool, debianPackage] of [
    ["apt-get", "apt"],
    ["dpkg-deb", "dpkg"],
  ] as const) {
    await run(tool, ["--version"], signal).catch(() => {
      throw new ToolMissing(`The demo needs ${tool}.`, debianPackage);
    });
  }
  const directory = await mkdtemp(join(tmpdir(), "tahoe-apt-demo-"));
  const ended = new AbortController();
  let tree: LocalTree | undefined;
  let closed: Promise<void> | undefined;
  try {
    say("1. A Tahoe grid on this machine, and in it a tree with one builder's directory.");
    tree = await openLocalTree({
      tahoeDirectory: resolve(localDirectory, "venv"),
      gridDirectory: join(directory, "grid"),
      capsDirectory: join(directory, "caps"),
      searchPath: searchPath(),
      progress: seldom(say),
      signal,
    });

    say("2. A server that holds the tree's read cap.");
    const { tokenFile, headerFile } = await makePingFiles(join(directory, "caps"));
    const configuration = loadConfiguration({
      name: repository,
      webapi: [tree.grid.webapiUrl],
      readcapFile: tree.capFiles.readCap,
      listen: "127.0.0.1:0",
      state: join(directory, "state"),
      pingTokenFile: tokenFile,
    });
    const server = await serve(configuration, { signal: AbortSignal.any([signal, ended.signal]), log: silentLog });
    closed = server.closed;
    const act = new Act({
      directory,
      tree,
      url: server.url,
      header: (await readFile(headerFile, "utf8")).trim(),
      signal,
      say,
    });

    say("3. The builder makes three packages, uploads them with no more than its own write cap, and pings.");
    for (const [name, version] of [
      ["tahoe-demo-hello", "1.0"],
      ["tahoe-demo-tools", "2:0.9~rc1+b1"],
      ["tahoe-demo-data", "7"],
    ]) {
      await act.upload(name ?? "", version ?? "");
    }
    await act.ping();

    say("4. apt, with a root of its own, learns of them.");
    await act.setUpApt();
    await act.update();
    await act.candidateIs("tahoe-demo-hello", "1.0");
    await act.downloads("tahoe-demo-tools", "2:0.9~rc1+b1");

    say("5. The builder uploads a newer one and pings again; the next update sees it.");
    await act.upload("tahoe-demo-hello", "1.1");
    await act.ping();
    await act.update();
    await act.candidateIs("tahoe-demo-hello", "1.1");
    await act.downloads("tahoe-demo-hello", "1.1");
  } finally {
    ended.abort();
    await closed;
    await tree?.grid.stop();
    await rm(directory, { recursive: true, force: true });
  }
  say("That is the whole story. Everything that it made is gone again.");
}

interface Stage extends Surroundings {
  readonly directory: string;
  readonly tree: LocalTree;
  readonly url: string;
  /** The header that a ping bears. */
  readonly header: string;
}

/** What the builder and the APT user of the story do. */
class Act {
  readonly #stage: Stage;
  constructor(stage: Stage) {
    this.#stage = stage;
  }

  async upload(name: string, version: string): Promise<void> {
    const { tree, say, signal } = this.#stage;
    const file = await this.#build(name, version);
    const begunMs = Date.now();
    const target = `${tree.binaries.alias}:${fileName(name, version, tree.architecture)}`;
    await run(tree.tahoe.executable, ["-d", tree.grid.nodeDirectory, "put", file, target], signal);
    say(`   tahoe put ${target} (${seconds(begunMs)})`);
  }

  async ping(): Promise<void> {
    const { tree, url, header, say, signal } = this.#stage;
    const begunMs = Date.now();
    const [headerName = "", value = ""] = header.split(/: (.*)/);
    const target = `${url}/-/ping/${repository}/${tree.binaries.path}?wait=${pingWaitSeconds}`;
    const reply = await fetch(target, { method: "POST", headers: { [headerName]: value }, signal });
    const answer = pingAnswer.safeParse(await reply.json().catch(() => undefined));
    if (reply.status !== 200 || !answer.success) throw new DemoFailed(`the ping was answered with ${reply.status}`);
    say(`   ping: ${answer.data.added.length} added and servable (${seconds(begunMs)})`);
  }

  /** Nothing of the machine's own APT is touched: lists, cache, sources and keys are in the demo's directory. */
  async setUpApt(): Promise<void> {
    const { url, signal } = this.#stage;
    const places = ["etc/apt/apt.conf.d", "etc/apt/preferences.d", "etc/apt/sources.list.d", "etc/apt/trusted.gpg.d"];
    for (const place of [...places, "var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/lib/dpkg"]) {
      await mkdir(this.#in("apt", place), { recursive: true });
    }
    await writeFile(this.#in("apt", "var/lib/dpkg/status"), "");
    const source = await fetch(`${url}/${repository}/${repository}.sources`, { signal });
    await writeFile(this.#in("apt", `etc/apt/sources.list.d/${repository}.sources`), await source.text());
  }

  async update(): Promise<void> {
    const { say } = this.#stage;
    const output = await this.#apt("apt-get", "update", "-o", "APT::Update::Error-Mode=any");
    for (const line of output.split("\n").filter((one) => /^(Get|Hit):/.test(one))) say(`   apt-get update: ${line}`);
  }

  async candidateIs(name: string, version: string): Promise<void> {
    const candidate = /^ *Candidate: (.*)$/m.exec(await this.#apt("apt-cache", "policy", name))?.[1];
    if (candidate !== version) throw new DemoFailed(`apt's candidate of ${name} is ${candidate}, and not ${version}`);
    this.#stage.say(`   apt-cache policy: the candidate of ${name} is ${version}`);
  }

  async downloads(name: string, version: string): Promise<void> {
    const { say, tree } = this.#stage;
    const place = this.#in("downloads", name);
    await rm(place, { recursive: true, force: true });
    await mkdir(place, { recursive: true });
    await this.#apt("apt-get", "download", name);
    const [file = ""] = await readdir(place);
    const sent = await readFile(this.#in("built", fileName(name, version, tree.architecture)));
    if (!sent.equals(await readFile(join(place, file)))) throw new DemoFailed(`${file} is not what was uploaded`);
    say(`   apt-get download: ${file} has the very bytes that the builder made`);
  }

  async #build(name: string, version: string): Promise<string> {
    const { tree, signal } = this.#stage;
    const root = this.#in("sources", name);
    await mkdir(join(root, "DEBIAN"), { recursive: true });
    await mkdir(join(root, "usr/share/doc", name), { recursive: true });
    await mkdir(this.#in("built"), { recursive: true });
    const control = [
      `Package: ${name}`,
      `Version: ${version}`,
      `Architecture: ${tree.architecture}`,
      "Maintainer: The Demo <demo@localhost>",
      "Section: misc",
      "Priority: optional",
      "Description: made for a demonstration",
      " It holds one file and can be removed at any time.",
    ];
    await writeFile(join(root, "DEBIAN/control"), `${control.join("\n")}\n`);
    await writeFile(join(root, "usr/share/doc", name, "README"), `${name} ${version}\n`);
    const file = this.#in("built", fileName(name, version, tree.architecture));
    await run("dpkg-deb", ["--root-owner-group", "--build", root, file], signal);
    return file;
  }

  async #apt(tool: string, command: string, ...args: readonly string[]): Promise<string> {
    const cwd = command === "download" ? this.#in("downloads", args[0] ?? "") : this.#stage.directory;
    const options = [
      `Dir=${this.#in("apt")}`,
      `Dir::State::status=${this.#in("apt", "var/lib/dpkg/status")}`,
      `APT::Architecture=${this.#stage.tree.architecture}`,
      "APT::Architectures::=",
      "APT::Sandbox::User=",
      "Acquire::Languages=none",
      "Acquire::http::Proxy=DIRECT",
    ];
    return await run(tool, [...options.flatMap((option) => ["-o", option]), command, ...args], this.#stage.signal, cwd);
  }

  #in(...names: readonly string[]): string {
    return join(this.#stage.directory, ...names);
  }
}

const fileName = (name: string, version: string, architecture: string): string =>
  `${name}_${version.replace(/^\d+:/, "")}_${architecture}.deb`;

const seconds = (begunMs: number): string => `${((Date.now() - begunMs) / 1000).toFixed(1)} s`;

async function run(tool: string, args: readonly string[], signal: AbortSignal, cwd?: string): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(tool, args, { signal, timeout: toolTimeoutMs, ...(cwd && { cwd }) });
    return stdout;
  } catch (thrown) {
    signal.throwIfAborted();
    const said = thrown instanceof Error && "stderr" in thrown ? String(thrown.stderr).trim() : "";
    throw new DemoFailed(`${tool} failed${said === "" ? "" : `:\n${said}`}`);
  }
}
