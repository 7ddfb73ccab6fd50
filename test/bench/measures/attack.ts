// An attack to be measured, and how long others wait for the server meanwhile.
import { setTimeout as sleep } from "node:timers/promises";
import type { BenchContext } from "../bench-context.ts";
import type { BenchServer } from "../bench-server.ts";
import { ask } from "../http.ts";

/** A server that one builder is about to attack, while another one uploads. */
export interface Scene {
  readonly server: BenchServer;
  /** Puts a file into the honest builder's directory. @returns what to ping */
  readonly upload: (name: string, bytes: Uint8Array) => Promise<string>;
  /** Attacks until that has come to its end, or until the signal is aborted. */
  readonly attack: (signal: AbortSignal) => Promise<void>;
}

export interface Attack {
  readonly name: string;
  /** Makes the scene; the server is started later. */
  readonly prepare: (bench: BenchContext) => Promise<Scene>;
}

const betweenRequestsMs = 20;
/** Before a ping that was not answered with success is sent again, in ms. */
const retryMs = 200;

/** Pings until that is answered with success, as `tahoe-apt put` does. @returns seconds, also when nobody waits any more */
export async function secondsToServable(server: BenchServer, path: string, signal: AbortSignal): Promise<number> {
  const begunMs = performance.now();
  while ((await statusOfPing(server, path, signal)) !== 200 && !signal.aborted) await sleep(retryMs);
  return (performance.now() - begunMs) / 1000;
}

/** @returns undefined where there is no answer */
export async function statusOfPing(
  server: BenchServer,
  path: string,
  signal: AbortSignal,
): Promise<number | undefined> {
  const { url, token } = server.pingAddress;
  const headers = { Authorization: `Bearer ${token}` };
  const asking = ask("POST", `${url}/${path}?wait=300`, { headers, signal, connection: "own" });
  return await asking.then(
    ({ status }) => status,
    () => undefined,
  );
}

/** Asks for InRelease again and again. @returns seconds */
export async function longestRequest(server: BenchServer, over: AbortSignal): Promise<number> {
  let longestSeconds = 0;
  while (!over.aborted) {
    const begunMs = performance.now();
    await server.get("dists/sid/InRelease");
    longestSeconds = Math.max(longestSeconds, (performance.now() - begunMs) / 1000);
    await sleep(betweenRequestsMs);
  }
  return longestSeconds;
}
