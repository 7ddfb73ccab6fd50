// The reverse proxies of docs/examples/proxies/ as processes, each with the files, ports and addresses of a test.
import type { ChildProcess } from "node:child_process";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { get } from "node:https";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Certificate } from "./certificates.ts";
import { blockOf } from "./documents.ts";
import { readProjectFile } from "./project-files.ts";
import { freePort } from "./server.ts";

const examples = "docs/examples/proxies";
const startTimeoutMs = 30_000;
const pollMs = 50;

export type ProxyName = "nginx" | "Caddy" | "HAProxy" | "Varnish";
type ExampleName = ProxyName | "HAProxy before replicas";

/** A replacement in an example: the text must be in it. */
export type Change = readonly [before: string, after: string];

export interface ProxyOptions {
  /** The port of the server behind it, on the loopback interface. */
  readonly upstreamPort: number;
  /** The ports of the three servers behind it, for the example with replicas. */
  readonly replicaPorts?: readonly number[];
  readonly certificate: Certificate;
  /** A directory for configurations, caches and logs; it is made. */
  readonly directory: string;
  /** Changes of the example, e.g. to leave out a rule. */
  readonly changes?: readonly Change[];
}

/** Where an example keeps what a test has elsewhere. */
interface Place {
  readonly upstreamPort: number;
  readonly replicaPorts: readonly number[];
  readonly port: number;
  /** The port between hitch and Varnish. */
  readonly innerPort: number;
  readonly directory: string;
  readonly certificate: Certificate;
  /** Certificate and key in one file. */
  readonly combinedFile: string;
  readonly changes: readonly Change[];
}

/** A command, and an example that it needs as a file. */
interface Program {
  readonly command: string;
  readonly debianPackage: string;
  readonly args: readonly string[];
}

/** A running proxy. */
export class ReverseProxy {
  readonly name: ExampleName;
  readonly port: number;
  readonly url: string;
  readonly #children: readonly ChildProcess[];
  #output = "";

  private constructor(name: ExampleName, port: number, programs: readonly Program[], directory: string) {
    this.name = name;
    this.port = port;
    this.url = `https://localhost:${port}`;
    this.#children = programs.map(({ command, debianPackage, args }) => {
      const env = { PATH: `${process.env.PATH}:/usr/sbin`, HOME: directory };
      // A group of its own, so that the processes that it starts end with it.
      const child = spawn(command, args, { env, stdio: ["ignore", "pipe", "pipe"], detached: true });
      for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (this.#output += String(chunk)));
      child.on("error", () => (this.#output += `this test needs ${command}: apt-get install ${debianPackage}\n`));
      return child;
    });
  }

  /** Resolves when the server answers through the proxy. */
  static async start(name: ExampleName, options: ProxyOptions): Promise<ReverseProxy> {
    const { directory, certificate } = options;
    mkdirSync(directory, { recursive: true });
    const combinedFile = join(directory, "combined.pem");
    copyFileSync(certificate.certificateFile, join(directory, "fullchain.pem"));
    copyFileSync(certificate.keyFile, join(directory, "privkey.pem"));
    execFileSync("sh", ["-ec", blockOf("sh combined-certificate")], { cwd: directory });
    const [port, innerPort] = [await freePort(), await freePort()];
    const programs = programsOf[name]({ changes: [], replicaPorts: [], ...options, port, innerPort, combinedFile });
    const proxy = new ReverseProxy(name, port, programs, directory);
    await proxy.#ready(readFileSync(certificate.caFile));
    return proxy;
  }

  /** What the programs wrote to their standard output and standard error. */
  get output(): string {
    return this.#output;
  }

  /** The memory that all processes of the proxy have of their own, in bytes; pages of files on disk do not count. */
  memoryBytes(): number {
    return processTree(this.#children.flatMap(({ pid }) => pid ?? [])).reduce((sum, pid) => sum + memoryBytes(pid), 0);
  }

  async end(): Promise<void> {
    const running = this.#children.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null);
    await Promise.all(
      running.map(async (child) => {
        if (child.pid === undefined) return;
        const exited = once(child, "exit");
        process.kill(-child.pid, "SIGKILL");
        await exited;
      }),
    );
  }

  async #ready(ca: Buffer): Promise<void> {
    for (const begunMs = Date.now(); Date.now() - begunMs < startTimeoutMs; ) {
      if (this.#children.some(({ exitCode }) => exitCode !== null)) break;
      if (await responds(`${this.url}/healthz`, ca)) return;
      await sleep(pollMs);
    }
    await this.end();
    throw new Error(`${this.name} did not start:\n${this.#output}`);
  }
}

const responds = (url: string, ca: Buffer): Promise<boolean> =>
  new Promise((resolve) => {
    const asking = get(url, { ca, agent: false, family: 4 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    asking.on("error", () => resolve(false));
  });

/** The memory that a process has of its own, in bytes. */
export function memoryBytes(pid: number): number {
  const [, kibibytes = "0"] = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Number(kibibytes) * 1024;
}

/** Processes and all that they have started. */
function processTree(pids: readonly number[]): readonly number[] {
  return pids.flatMap((pid) => {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
    return [pid, ...processTree(children === "" ? [] : children.split(" ").map(Number))];
  });
}

/** Writes an example with changes. @returns the path of the file @throws if a text to replace is not in the example */
function written(place: Place, name: string, changes: readonly Change[]): string {
  let text = readProjectFile(`${examples}/${name}`);
  for (const [before, after] of changes) {
    if (!text.includes(before)) throw new Error(`${examples}/${name} has no "${before}"`);
    text = text.replaceAll(before, after);
  }
  const file = join(place.directory, name);
  writeFileSync(file, text);
  return file;
}

/** The programs of each proxy, in the order in which they start. */
const programsOf: { readonly [name in ExampleName]: (place: Place) => readonly Program[] } = {
  nginx(place) {
    const { certificate, directory, port, upstreamPort, changes } = place;
    const site = written(place, "nginx.conf", [
      ["127.0.0.1:8380", `127.0.0.1:${upstreamPort}`],
      ["listen 443", `listen 127.0.0.1:${port}`],
      ["/etc/ssl/tahoe-apt/fullchain.pem", certificate.certificateFile],
      ["/etc/ssl/tahoe-apt/privkey.pem", certificate.keyFile],
      ["/var/cache/nginx-tahoe-apt", join(directory, "cache")],
      ...changes,
    ]);
    const main = join(directory, "main.conf");
    const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
      (kind) => `${kind}_temp_path ${join(directory, kind)};`,
    );
    writeFileSync(
      main,
      `daemon off; user root; worker_processes 1; pid ${join(directory, "pid")}; error_log stderr;
events {}
http { access_log ${join(directory, "access.log")}; ${temporary.join(" ")} include ${site}; }
`,
    );
    return [{ command: "nginx", debianPackage: "nginx", args: ["-p", directory, "-c", main, "-e", "stderr"] }];
  },

  Caddy(place) {
    const { certificate, port, upstreamPort, changes } = place;
    const file = written(place, "Caddyfile", [
      ["127.0.0.1:8380", `127.0.0.1:${upstreamPort}`],
      ["/etc/ssl/tahoe-apt/fullchain.pem", certificate.certificateFile],
      ["/etc/ssl/tahoe-apt/privkey.pem", certificate.keyFile],
      ["apt.example.org {", `https://localhost:${port} {\n\tbind 127.0.0.1`],
      ["{\n\tservers {", "{\n\tadmin off\n\tauto_https disable_redirects\n\tservers {"],
      ...changes,
    ]);
    return [{ command: "caddy", debianPackage: "caddy", args: ["run", "--adapter", "caddyfile", "--config", file] }];
  },

  HAProxy(place) {
    const { combinedFile, port, upstreamPort, changes } = place;
    const file = written(place, "haproxy.cfg", [
      ["127.0.0.1:8380", `127.0.0.1:${upstreamPort}`],
      ["bind :443", `bind 127.0.0.1:${port}`],
      ["/etc/ssl/tahoe-apt/combined.pem", combinedFile],
      ["log /dev/log local0", "log stdout format raw local0"],
      ["total-max-size 256", "total-max-size 32"],
      ...changes,
    ]);
    return [{ command: "haproxy", debianPackage: "haproxy", args: ["-db", "-f", file] }];
  },

  "HAProxy before replicas"(place) {
    const { combinedFile, port, replicaPorts, changes } = place;
    const file = written(place, "haproxy-replicas.cfg", [
      ...replicaPorts.map((replica, index) => [`192.0.2.${index + 1}:8380`, `127.0.0.1:${replica}`] as const),
      ["bind :443", `bind 127.0.0.1:${port}`],
      ["/etc/ssl/tahoe-apt/combined.pem", combinedFile],
      ["log /dev/log local0", "log stdout format raw local0"],
      ...changes,
    ]);
    return [{ command: "haproxy", debianPackage: "haproxy", args: ["-db", "-f", file] }];
  },

  Varnish(place) {
    const { combinedFile, directory, innerPort, port, upstreamPort, changes } = place;
    const vcl = written(place, "varnish.vcl", [['.port = "8380"', `.port = "${upstreamPort}"`], ...changes]);
    const hitch = written(place, "hitch.conf", [
      ['host = "*"', 'host = "127.0.0.1"'],
      ['port = "443"', `port = "${port}"`],
      ["[127.0.0.1]:6086", `[127.0.0.1]:${innerPort}`],
      ["/etc/ssl/tahoe-apt/combined.pem", combinedFile],
    ]);
    const service = readProjectFile(`${examples}/varnish-service.conf`);
    const [, command = ""] = /^ExecStart=\S*varnishd -j \S+ (.+)$/m.exec(service) ?? [];
    const here = [
      ["127.0.0.1:6086", `127.0.0.1:${innerPort}`],
      ["/etc/varnish/tahoe-apt.vcl", vcl],
      ["/var/lib/varnish/packages.bin,20g", `${join(directory, "packages.bin")},512m`],
      ["/var/lib/varnish/transient.bin,10g", `${join(directory, "transient.bin")},512m`],
    ] as const;
    const args = here.reduce((text, [before, after]) => {
      if (!text.includes(before)) throw new Error(`the command of varnishd has no "${before}"`);
      return text.replace(before, after);
    }, command);
    const own = ["-j", "none", "-n", join(directory, "work")];
    return [
      { command: "varnishd", debianPackage: "varnish", args: [...own, ...args.split(" ")] },
      { command: "hitch", debianPackage: "hitch", args: [`--config=${hitch}`] },
    ];
  },
};
