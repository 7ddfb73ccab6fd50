// HAProxy as a process of its own before three replicas, with the configuration of docker/cluster.
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
const pollMs = 50;

/** @param replicas the URLs of three servers @returns its URL */
export async function haproxyBefore(bench: BenchContext, replicas: readonly string[]): Promise<string> {
  const address = `127.0.0.1:${await freePort()}`;
  const changes: readonly (readonly [string, string])[] = [
    ["bind :8380", `bind ${address}`],
    ["option httplog\n", "\n"],
    ["    log global\n", ""],
    ...replicas.map((url, index) => [`172.28.83.1${index + 1}:8380`, new URL(url).host] as const),
  ];
  let config = readFileSync(join(bench.options.projectRoot, "docker/cluster/haproxy.cfg"), "utf8");
  for (const [example, here] of changes) {
    if (!config.includes(example)) throw new Error(`docker/cluster/haproxy.cfg has no "${example}"`);
    config = config.replaceAll(example, here);
  }
  const directory = bench.path("haproxy");
  mkdirSync(directory);
  writeFileSync(join(directory, "haproxy.cfg"), config);
  const child = spawn("haproxy", ["-db", "-f", join(directory, "haproxy.cfg")], {
    env: { PATH: searchPath() },
    stdio: "ignore",
  });
  bench.atEnd(async () => {
    if (child.exitCode !== null) return;
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  });
  const { signal } = bench;
  for (const begunMs = performance.now(); performance.now() - begunMs < startTimeoutMs; ) {
    const reply = await ask("GET", `http://${address}/readyz`, { signal }).catch(() => undefined);
    if (reply?.status === 200) return `http://${address}`;
    await sleep(pollMs, undefined, { signal });
  }
  throw new Error("HAProxy did not start");
}
