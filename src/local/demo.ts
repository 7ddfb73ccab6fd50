// `npm run demo`: a demonstration from upload to download, with real tahoe and apt and with generated packages.
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { promisify } from "node:util";
import { z } from "zod";
import { RepoError } from "../base/errors.ts";
import { silentLog } from "../base/log.ts";
import { loadConfiguration, searchPath } from "../config/load-config.ts";
import { serve } from "../server/serve.ts";
import { ToolMissing } from "./grid/python.ts";
import type { LocalTree } from "./local-tree.ts";
import { openLocalTree } from "./local-tree.ts";
import type { DebianRelease, RunTool } from "./own-packages.ts";
import { debianReleases, installOn, ownPackages, whyNotHere } from "./own-packages.ts";
import { localDirectory, makePingFiles, throttled } from "./start.ts";

const toolTimeoutMs = 120_000;
/** Of one tool. */
const maxOutputBytes = 2 ** 24;
const pingWaitSeconds = 60;
const repository = "demo";

/** The part of a ping response that the demonstration uses. */
const pingResultSchema = z.object({ added: z.array(z.string()) });

/** A step of the demonstration had an unexpected result. */
class DemoFailed extends RepoError {
  readonly code = "demo/failed";
}

interface DemoOptions {
  readonly signal: AbortSignal;
  readonly printLine: (text: string) => void;
  /** The directory with tahoe-apt's own Debian packages; by default the checkout's, or they are built. */
  readonly packages?: string | undefined;
}

/** Resolves when the demonstration is finished and everything that it created is removed. */
export async function demo({ signal, printLine, packages }: DemoOptions): Promise<void> {
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
    printLine("1. Start a Tahoe grid on this machine, and create a tree with one builder's directory.");
    tree = await openLocalTree({
      tahoeDirectory: resolve(localDirectory, "venv"),
      gridDirectory: join(directory, "grid"),
      capsDirectory: join(directory, "caps"),
      searchPath: searchPath(),
      progress: throttled(printLine),
      signal,
    });

    printLine("2. Start a server with the tree's read cap.");
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
    const steps = new DemoSteps({
      directory,
      tree,
      url: server.url,
      header: (await readFile(headerFile, "utf8")).trim(),
      signal,
      printLine,
    });

    printLine("3. The builder creates three packages, uploads them with only its own write cap, and pings the server.");
    for (const [name, version] of [
      ["tahoe-demo-hello", "1.0"],
      ["tahoe-demo-tools", "2:0.9~rc1+b1"],
      ["tahoe-demo-data", "7"],
    ]) {
      await steps.upload(name ?? "", version ?? "");
    }
    await steps.ping();

    printLine("4. apt, with its own root directory, updates and downloads.");
    await steps.setUpApt();
    await steps.update();
    await steps.checkCandidate("tahoe-demo-hello", "1.0");
    await steps.checkDownload("tahoe-demo-tools", "2:0.9~rc1+b1");

    printLine("5. The builder uploads a newer version and pings again; the next update sees it.");
    await steps.upload("tahoe-demo-hello", "1.1");
    await steps.ping();
    await steps.update();
    await steps.checkCandidate("tahoe-demo-hello", "1.1");
    await steps.checkDownload("tahoe-demo-hello", "1.1");

    const left = whyNotHere(searchPath(), packages);
    if (left !== undefined) {
      printLine(
        "6. Left out: tahoe-apt's own Debian packages are not installed on a minimal trixie and bookworm, because",
      );
      printLine(`   ${left}.`);
    } else {
      printLine(
        "6. The builder publishes tahoe-apt's own Debian packages; a minimal trixie and bookworm install them.",
      );
      await steps.publishOwn(packages);
      for (const release of debianReleases) await steps.installOn(release);
    }
  } finally {
    ended.abort();
    await closed;
    await tree?.grid.stop();
    await rm(directory, { recursive: true, force: true });
  }
  printLine("The demonstration is finished. Everything that it created is removed.");
}

interface DemoStepsOptions extends DemoOptions {
  readonly directory: string;
  readonly tree: LocalTree;
  readonly url: string;
  /** The header line with the ping token. */
  readonly header: string;
}

/** The actions of the builder and of the APT user. */
class DemoSteps {
  readonly #options: DemoStepsOptions;
  constructor(options: DemoStepsOptions) {
    this.#options = options;
  }

  async upload(name: string, version: string): Promise<void> {
    await this.#uploadFile(await this.#build(name, version));
  }

  /** @param packages the directory of the packages; undefined: the checkout's, or they are built */
  async publishOwn(packages: string | undefined): Promise<void> {
    const { tree, printLine } = this.#options;
    const startedMs = Date.now();
    const scratch = this.#in("packages");
    const files = await ownPackages(packages, { architecture: tree.architecture, scratch, run: this.#tool });
    printLine(`   found or built ${files.map((file) => basename(file)).join(" and ")} (${seconds(startedMs)})`);
    for (const file of files) await this.#uploadFile(file);
    await this.ping();
  }

  async installOn(release: DebianRelease): Promise<void> {
    const { url, signal, printLine } = this.#options;
    const startedMs = Date.now();
    const source = await (await fetch(`${url}/${repository}/${repository}.sources`, { signal })).text();
    const systems = resolve(localDirectory, "systems");
    const scratch = this.#in("systems");
    const { version, node } = await installOn(release, { systems, scratch, source, run: this.#tool });
    printLine(
      `   ${release}: apt-get install tahoe-apt; its version is ${version}, with ${node} (${seconds(startedMs)})`,
    );
  }

  readonly #tool: RunTool = (tool, args, timeoutMs) => run(tool, args, this.#options.signal, { timeoutMs });

  async #uploadFile(file: string): Promise<void> {
    const { tree, printLine, signal } = this.#options;
    const startedMs = Date.now();
    const target = `${tree.binaries.alias}:${basename(file)}`;
    await run(tree.tahoe.executable, ["-d", tree.grid.nodeDirectory, "put", file, target], signal);
    printLine(`   tahoe put ${target} (${seconds(startedMs)})`);
  }

  async ping(): Promise<void> {
    const { tree, url, header, printLine, signal } = this.#options;
    const startedMs = Date.now();
    const [headerName = "", value = ""] = header.split(/: (.*)/);
    const target = `${url}/-/ping/${repository}/${tree.binaries.path}?wait=${pingWaitSeconds}`;
    const response = await fetch(target, { method: "POST", headers: { [headerName]: value }, signal });
    const result = pingResultSchema.safeParse(await response.json().catch(() => undefined));
    if (response.status !== 200 || !result.success)
      throw new DemoFailed(`the response to the ping has status ${response.status}`);
    printLine(`   ping: ${result.data.added.length} added and live (${seconds(startedMs)})`);
  }

  /** Does not touch the machine's own APT: lists, cache, sources and keys are in the demonstration's directory. */
  async setUpApt(): Promise<void> {
    const { url, signal } = this.#options;
    const directories = [
      "etc/apt/apt.conf.d",
      "etc/apt/preferences.d",
      "etc/apt/sources.list.d",
      "etc/apt/trusted.gpg.d",
    ];
    for (const directory of [
      ...directories,
      "var/lib/apt/lists/partial",
      "var/cache/apt/archives/partial",
      "var/lib/dpkg",
    ]) {
      await mkdir(this.#in("apt", directory), { recursive: true });
    }
    await writeFile(this.#in("apt", "var/lib/dpkg/status"), "");
    const source = await fetch(`${url}/${repository}/${repository}.sources`, { signal });
    await writeFile(this.#in("apt", `etc/apt/sources.list.d/${repository}.sources`), await source.text());
  }

  async update(): Promise<void> {
    const { printLine } = this.#options;
    const output = await this.#apt("apt-get", "update", "-o", "APT::Update::Error-Mode=any");
    for (const line of output.split("\n").filter((one) => /^(Get|Hit):/.test(one)))
      printLine(`   apt-get update: ${line}`);
  }

  async checkCandidate(name: string, version: string): Promise<void> {
    const candidate = /^ *Candidate: (.*)$/m.exec(await this.#apt("apt-cache", "policy", name))?.[1];
    if (candidate !== version) throw new DemoFailed(`apt's candidate for ${name} is ${candidate}, expected ${version}`);
    this.#options.printLine(`   apt-cache policy: the candidate of ${name} is ${version}`);
  }

  async checkDownload(name: string, version: string): Promise<void> {
    const { printLine, tree } = this.#options;
    const directory = this.#in("downloads", name);
    await rm(directory, { recursive: true, force: true });
    await mkdir(directory, { recursive: true });
    await this.#apt("apt-get", "download", name);
    const [file = ""] = await readdir(directory);
    const sent = await readFile(this.#in("built", fileName(name, version, tree.architecture)));
    if (!sent.equals(await readFile(join(directory, file))))
      throw new DemoFailed(`${file} differs from the uploaded file`);
    printLine(`   apt-get download: ${file} is identical to the uploaded file`);
  }

  async #build(name: string, version: string): Promise<string> {
    const { tree, signal } = this.#options;
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
    const cwd = command === "download" ? this.#in("downloads", args[0] ?? "") : this.#options.directory;
    const options = [
      `Dir=${this.#in("apt")}`,
      `Dir::State::status=${this.#in("apt", "var/lib/dpkg/status")}`,
      `APT::Architecture=${this.#options.tree.architecture}`,
      "APT::Architectures::=",
      "APT::Sandbox::User=",
      "Acquire::Languages=none",
      "Acquire::http::Proxy=DIRECT",
    ];
    return await run(tool, [...options.flatMap((option) => ["-o", option]), command, ...args], this.#options.signal, {
      cwd,
    });
  }

  #in(...names: readonly string[]): string {
    return join(this.#options.directory, ...names);
  }
}

const fileName = (name: string, version: string, architecture: string): string =>
  `${name}_${version.replace(/^\d+:/, "")}_${architecture}.deb`;

const seconds = (startedMs: number): string => `${((Date.now() - startedMs) / 1000).toFixed(1)} s`;

async function run(
  tool: string,
  args: readonly string[],
  signal: AbortSignal,
  { cwd, timeoutMs = toolTimeoutMs }: { readonly cwd?: string; readonly timeoutMs?: number } = {},
): Promise<string> {
  try {
    const options = { signal, timeout: timeoutMs, maxBuffer: maxOutputBytes, ...(cwd !== undefined && { cwd }) };
    const { stdout } = await promisify(execFile)(tool, args, options);
    return stdout;
  } catch (thrown) {
    signal.throwIfAborted();
    const stderr = thrown instanceof Error && "stderr" in thrown ? String(thrown.stderr).trim() : "";
    throw new DemoFailed(`${tool} failed${stderr === "" ? "" : `:\n${stderr}`}`);
  }
}
