// nginx as a process of its own: over files, or with its cache in front of our server.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../support/server.ts";
import type { BenchContext } from "./bench-context.ts";
import { searchPath } from "./commands.ts";
import { ask } from "./http.ts";

const startTimeoutMs = 10_000;
const pollMs = 20;

/** One worker that serves a directory. @param more lines for its configuration @returns its URL */
export async function nginxOverFiles(bench: BenchContext, root: string, more = ""): Promise<string> {
  const address = `127.0.0.1:${await freePort()}`;
  return await start(
    bench,
    address,
    `worker_processes 1;
events { worker_connections 4096; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  ${more}
  server { listen ${address}; root ${root}; }
}
`,
  );
}

/** The example of docker/nginx.conf with one worker, in front of a server. @returns its URL */
export async function nginxInFront(bench: BenchContext, upstream: string): Promise<string> {
  const address = `127.0.0.1:${await freePort()}`;
  const changes: readonly (readonly [string, string])[] = [
    ["worker_processes auto;", "worker_processes 1;"],
    ["server tahoe-apt:8380;", `server ${new URL(upstream).host};`],
    ["listen 80;", `listen ${address};`],
    ["/var/cache/nginx/tahoe-apt", bench.path("nginx-cache")],
  ];
  let config = readFileSync(join(bench.options.projectRoot, "docker/nginx.conf"), "utf8");
  for (const [example, here] of changes) {
    if (!config.includes(example)) throw new Error(`docker/nginx.conf has no "${example}"`);
    config = config.replace(example, here);
  }
  return await start(bench, address, config);
}

async function start(bench: BenchContext, address: string, config: string): Promise<string> {
  const directory = bench.path("nginx");
  mkdirSync(directory);
  writeFileSync(join(directory, "nginx.conf"), config);
  // As root its worker would be somebody who may not read our files.
  const user = process.getuid?.() === 0 ? "user root;" : "";
  const args = ["-p", directory, "-c", "nginx.conf", "-e", "stderr"];
  const child = spawn("nginx", [...args, "-g", `daemon off; pid ${directory}/pid; ${user}`], {
    env: { PATH: searchPath() },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let output = "";
  child.stderr.on("data", (chunk) => (output += String(chunk)));
  bench.atEnd(async () => {
    if (child.exitCode !== null) return;
    const exited = once(child, "exit");
    child.kill("SIGTERM");
    await exited;
  });
  const url = `http://${address}`;
  for (const begunMs = performance.now(); performance.now() - begunMs < startTimeoutMs; ) {
    if (child.exitCode !== null) break;
    const answers = await ask("GET", `${url}/metrics`, { signal: bench.signal }).then(
      () => true,
      () => false,
    );
    if (answers) return url;
    await sleep(pollMs, undefined, { signal: bench.signal });
  }
  throw new Error(`nginx did not start: ${output}`);
}
