// SIGTERM to every documented way of starting a server: the download in progress is finished, and the exit code is 0. The
// installed command is tested in packages.test.ts and systemd.test.ts, the image in docker-image.test.ts.
import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, watch, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fetch from "node-fetch";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { aDeb } from "../support/debs.ts";
import { slowDownload } from "../support/load.ts";
import { projectRoot } from "../support/project-files.ts";
import { cleanCheckout, demandRoot } from "../support/rootfs.ts";
import { freePort } from "../support/server.ts";

const largeFile = randomBytes(24 * 2 ** 20);
/** The download takes 2 seconds then, which is less than the grace period. */
const slowMs = 5;
const startMs = 120_000;
const program = join(projectRoot, "dist/cli.js");

let work: string;
let checkout: string;

beforeAll(async () => {
  work = mkdtempSync(join(tmpdir(), "tahoe-apt-stopping-"));
  const place = join(work, "tree/dists/sid/main/binary-amd64");
  mkdirSync(place, { recursive: true });
  writeFileSync(join(place, "hello_1.0_amd64.deb"), await aDeb({ package: "hello", version: "1.0" }));
  writeFileSync(join(work, "tree/large.bin"), largeFile);
  // `npm start` writes into its checkout.
  checkout = join(work, "checkout");
  await cleanCheckout(checkout);
  cpSync(join(projectRoot, "dist"), join(checkout, "dist"), { recursive: true, preserveTimestamps: true });
  symlinkSync(join(projectRoot, "node_modules"), join(checkout, "node_modules"));
  mkdirSync(join(work, "bin"));
  symlinkSync(program, join(work, "bin/tahoe-apt"));
});

afterAll(() => rmSync(work, { recursive: true, force: true }));

interface Started {
  readonly child: ChildProcess;
  readonly url: string;
  readonly output: () => string;
  /** The exit code, or the name of the signal that ended it. */
  readonly ended: Promise<number | string>;
}

/** Starts a server for the folder; the flags come after the arguments. */
async function start(command: string, args: readonly string[], state = join(work, "state")): Promise<Started> {
  rmSync(state, { recursive: true, force: true });
  const port = await freePort();
  const flags = ["--folder", join(work, "tree"), "--listen", `127.0.0.1:${port}`, "--state", state];
  const child = spawn(command, [...args, ...flags], {
    cwd: checkout,
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += String(chunk)));
  const ended = once(child, "close").then(([code, signal]) => (code ?? signal) as number | string);
  onTestFinished(() => {
    try {
      // What is left of its process group.
      process.kill(-(child.pid ?? 0), "SIGKILL");
    } catch {
      // Nothing is left.
    }
  });
  return { child, url: `http://127.0.0.1:${port}`, output: () => output, ended };
}

/** The process that a process started. */
const childOf = (pid: number): number =>
  Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ")[0]);

const itself = (pid: number): number => pid;

test.each([
  ["node dist/cli.js serve", process.execPath, [program, "serve"], itself],
  ["tahoe-apt serve, a link to the command,", "bin/tahoe-apt", ["serve"], itself],
  ["npm start", "npm", ["start", "--"], itself],
  ["the process that npm start starts", "npm", ["start", "--"], childOf],
  [
    "process 1 of a container",
    "unshare",
    ["--pid", "--fork", "--kill-child", process.execPath, program, "serve"],
    childOf,
  ],
] as const)(
  "SIGTERM to %s ends the server with 0 after the downloads in progress",
  async (_way, command, args, target) => {
    if (command === "unshare") demandRoot();
    const { child, url, output, ended } = await start(command.startsWith("bin/") ? join(work, command) : command, args);
    await expect
      .poll(async () => (await fetch(`${url}/readyz`).catch(() => undefined))?.status, { timeout: startMs })
      .toBe(200);
    const download = await slowDownload(`${url}/debian/large.bin`, slowMs);
    process.kill(target(child.pid ?? 0), "SIGTERM");
    expect(await download.digest).toBe(createHash("sha256").update(largeFile).digest("hex"));
    expect(await ended, output()).toBe(0);
    await expect(fetch(url)).rejects.toThrow(/ECONNREFUSED/);
  },
);

test("SIGTERM during the start ends the server with 0", async () => {
  const place = mkdtempSync(join(work, "early-"));
  const watcher = watch(place);
  const { child, output, ended } = await start(process.execPath, [program, "serve"], join(place, "state"));
  // It opens its state now, and does not listen yet.
  await once(watcher, "change");
  watcher.close();
  child.kill("SIGTERM");
  expect(await ended, output()).toBe(0);
});
