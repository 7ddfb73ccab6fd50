// A second Tahoe gateway to the same grid. It does not see the first one's writes at once, so that both can collide.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import fetch from "node-fetch";
import { runTool } from "./debs.ts";
import { freePort } from "./server.ts";

const startTimeoutMs = 60_000;
const pollMs = 100;

export interface SecondGateway {
  readonly url: string;
  stop(): Promise<void>;
}

/** @param tahoe the `tahoe` command @param first the node directory of a gateway that is connected to the grid */
export async function secondGateway(tahoe: string, first: string): Promise<SecondGateway> {
  const directory = mkdtempSync(join(tmpdir(), "tahoe-apt-second-"));
  const node = join(directory, "node");
  const port = await freePort();
  const webport = `--webport=tcp:${port}:interface=127.0.0.1`;
  runTool(tahoe, ["create-client", webport, "--shares-needed=1", "--shares-happy=1", "--shares-total=1", node]);
  copyFileSync(join(first, "private/servers.yaml"), join(node, "private/servers.yaml"));
  const child = spawn(tahoe, ["run", node], { stdio: ["pipe", "ignore", "ignore"] });
  const url = `http://127.0.0.1:${port}`;
  const stop = async (): Promise<void> => {
    const ended = once(child, "exit");
    child.kill("SIGTERM");
    await ended;
    rmSync(directory, { recursive: true, force: true });
  };
  for (const begunMs = Date.now(); Date.now() - begunMs < startTimeoutMs; await sleep(pollMs)) {
    const welcome = await fetch(`${url}/?t=json`).then(
      (reply) => reply.text(),
      () => "",
    );
    if (/"connection_status": *"Connected/.test(welcome)) return { url, stop };
  }
  await stop();
  throw new Error("the second gateway did not come up");
}
