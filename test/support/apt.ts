// Runs the real apt with its own root directory. It uses one repository and never touches the machine's own state.
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runTool } from "./debs.ts";

/** The repository that apt uses. */
export interface AptSource {
  /** The repository's root. */
  readonly url: string;
  readonly suite: string;
  readonly components?: readonly string[];
  /** The armoured public key that the source contains. */
  readonly publicKey: string;
}

export interface AptRootOptions {
  /** A source, or the text of a whole deb822 .sources file. */
  readonly source: AptSource | string;
  readonly architecture?: string;
  /** The text of /var/lib/dpkg/status: the installed packages. */
  readonly installed?: string;
  /** Additional options, e.g. `{ "Acquire::CompressionTypes::Order": "gz" }`. */
  readonly options?: { readonly [name: string]: string };
  /** Additional environment variables for apt's programs. */
  readonly environment?: { readonly [name: string]: string };
}

/** Programs that use APT_CONFIG. */
export type AptCommand = "apt" | "apt-get" | "apt-cache" | "aptitude" | "/usr/bin/python3";

/** The output and the exit code of a command. */
export interface AptRun {
  readonly exitCode: number;
  /** Standard output and standard error. */
  readonly output: string;
}

/** After this time, in milliseconds, apt counts as hung. */
const aptTimeoutMs = 120_000;

/** apt, apt-get and apt-cache with a private root directory. `close` deletes it. */
export class AptRoot {
  readonly directory: string;
  readonly #configuration: string;
  readonly #environment: { readonly [name: string]: string };

  constructor({ source, architecture = "amd64", installed = "", options = {}, environment = {} }: AptRootOptions) {
    this.#environment = environment;
    runTool("apt-get", ["--version"], "", "apt");
    this.directory = mkdtempSync(join(tmpdir(), "apt-root-"));
    for (const path of [
      "etc/preferences.d",
      "etc/sources.list.d",
      "etc/parts",
      "state/lists/partial",
      "cache/archives/partial",
      "log",
      "got",
    ]) {
      mkdirSync(join(this.directory, path), { recursive: true });
    }
    writeFileSync(join(this.directory, "status"), installed);
    writeFileSync(join(this.directory, "etc/sources.list.d/it.sources"), sourceText(source));
    this.#configuration = join(this.directory, "apt.conf");
    const settings = {
      Dir: this.directory,
      "Dir::State": "state",
      "Dir::State::status": join(this.directory, "status"),
      "Dir::Cache": "cache",
      "Dir::Etc": "etc",
      "Dir::Etc::parts": "parts",
      "Dir::Log": "log",
      "APT::Architecture": architecture,
      "APT::Architectures": architecture,
      "APT::Sandbox::User": "root",
      "APT::Get::Assume-Yes": "true",
      "Acquire::Languages": "none",
      "Acquire::http::Proxy": "DIRECT",
      ...options,
    };
    const lines = Object.entries(settings).map(([name, value]) => `${name} "${value}";\n`);
    writeFileSync(this.#configuration, lines.join(""));
  }

  close(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** Runs an apt command in the directory `got`, whatever its exit code. */
  run(command: AptCommand, ...args: readonly string[]): Promise<AptRun> {
    const env = { PATH: process.env.PATH, LC_ALL: "C.UTF-8", APT_CONFIG: this.#configuration, ...this.#environment };
    return new Promise((resolve, reject) => {
      const options = { env, cwd: join(this.directory, "got"), timeout: aptTimeoutMs, maxBuffer: 2 ** 26 };
      execFile(command, args, options, (error, stdout, stderr) => {
        if (error !== null && typeof error.code !== "number")
          reject(new Error(`${command} did not run`, { cause: error }));
        else resolve({ exitCode: Number(error?.code ?? 0), output: stdout + stderr });
      });
    });
  }

  /** @throws Error with apt's output, even for a warning */
  async update(): Promise<string> {
    return await this.#succeed("apt-get", "update", "--error-on=any");
  }

  /** @returns apt's output of an update that must fail @throws Error if it succeeds */
  async failToUpdate(): Promise<string> {
    const { exitCode, output } = await this.run("apt-get", "update", "--error-on=any");
    if (exitCode === 0) throw new Error(`apt-get update should have failed:\n${output}`);
    return output;
  }

  /** Downloads a package and returns its bytes. */
  async download(name: string): Promise<Buffer> {
    await this.#succeed("apt-get", "download", name);
    const [packageName = ""] = name.split(/[=/:]/);
    return this.#newest("got", (file) => file.startsWith(`${packageName}_`) && /\.d?deb$/.test(file));
  }

  /** `apt-get install --download-only`: the names of the files in apt's cache. */
  async installDownloadOnly(...names: readonly string[]): Promise<readonly string[]> {
    await this.#succeed("apt-get", "install", "--download-only", ...names);
    return readdirSync(join(this.directory, "cache/archives")).filter((file) => file.endsWith(".deb"));
  }

  /** `apt-get source --download-only`: the downloaded files by name. */
  async source(name: string): Promise<ReadonlyMap<string, Buffer>> {
    await this.#succeed("apt-get", "source", "--download-only", name);
    const [sourceName = ""] = name.split(/[=/]/);
    const files = readdirSync(join(this.directory, "got")).filter((file) => file.startsWith(`${sourceName}_`));
    return new Map(files.map((file) => [file, readFileSync(join(this.directory, "got", file))]));
  }

  /** `apt-cache policy NAME`. */
  async policy(name: string): Promise<string> {
    return await this.#succeed("apt-cache", "policy", name);
  }

  /** The version that apt would install; undefined if there is none. */
  async candidate(name: string): Promise<string | undefined> {
    const version = /^ {2}Candidate: (.+)$/m.exec(await this.policy(name))?.[1];
    return version === "(none)" ? undefined : version;
  }

  /** The names of all packages in apt's lists, sorted. */
  async packageNames(): Promise<readonly string[]> {
    const names = (await this.#succeed("apt-cache", "pkgnames")).split("\n");
    return names.filter((name) => name !== "").toSorted();
  }

  async #succeed(command: "apt-get" | "apt-cache", ...args: readonly string[]): Promise<string> {
    const { exitCode, output } = await this.run(command, ...args);
    if (exitCode !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${exitCode}:\n${output}`);
    return output;
  }

  #newest(directory: string, wanted: (file: string) => boolean): Buffer {
    const file = readdirSync(join(this.directory, directory)).filter(wanted).toSorted().at(-1);
    if (file === undefined) throw new Error(`apt fetched nothing into ${directory}`);
    return readFileSync(join(this.directory, directory, file));
  }
}

/** A deb822 .sources file. */
export function sourceText(source: AptSource | string): string {
  if (typeof source === "string") return source;
  const key = source.publicKey.trimEnd().split("\n");
  return [
    "Types: deb deb-src",
    `URIs: ${source.url}`,
    `Suites: ${source.suite}`,
    `Components: ${(source.components ?? ["main"]).join(" ")}`,
    "Signed-By:",
    ...key.map((line) => ` ${line === "" ? "." : line}`),
    "",
  ].join("\n");
}
