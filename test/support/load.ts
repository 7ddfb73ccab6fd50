// Clients that request without a pause while something happens to the server, and a download that takes its time.
import { createHash } from "node:crypto";
import { Agent, get } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

/** What clients saw. */
export interface LoadResult {
  readonly requests: number;
  /** One line for each request that was not answered completely with 200. */
  readonly failures: readonly string[];
}

const keptAlive = 6;
const oneByOne = 3;

/**
 * Requests without a pause while an action runs, and a moment longer. Most clients keep their connections; the others
 * make one for each request. No client tries a request again.
 */
export async function underLoad(urls: readonly string[], action: () => Promise<unknown>): Promise<LoadResult> {
  const failures: string[] = [];
  let requests = 0;
  let isOver = false;
  const client = async (keepAlive: boolean): Promise<void> => {
    const agent = new Agent({ keepAlive, maxSockets: 1 });
    while (!isOver) {
      const url = urls[requests % urls.length] ?? "";
      requests += 1;
      await requestOnce(url, agent).catch((thrown: unknown) =>
        failures.push(`${url} keepAlive=${keepAlive}: ${String(thrown)}`),
      );
    }
    agent.destroy();
  };
  const clients = [...Array(keptAlive + oneByOne).keys()].map((index) => client(index < keptAlive));
  try {
    await action();
  } finally {
    const before = requests;
    while (requests < before + 10 * clients.length) await sleep(1);
    isOver = true;
    await Promise.all(clients);
  }
  return { requests, failures };
}

/** @throws unless the answer is complete and has the status 200 */
function requestOnce(url: string, agent: Agent): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = get(url, { agent }, (response) => {
      response.resume();
      response.once("error", reject);
      response.once("close", () => {
        if (!response.complete) reject(new Error("the response is truncated"));
        else if (response.statusCode === 200) resolve();
        else reject(new Error(`status ${response.statusCode}`));
      });
    });
    request.once("error", reject);
  });
}

export interface SlowDownload {
  /** Resolves with the SHA-256 of the body, in hex. */
  readonly digest: Promise<string>;
}

/** Begins a download that reads a chunk, of 64 KiB as a rule, every `everyMs`. Resolves when the first one is there. */
export function slowDownload(url: string, everyMs: number): Promise<SlowDownload> {
  return new Promise((resolve, reject) => {
    get(url, { agent: new Agent() }, (response) => {
      const read = async (): Promise<string> => {
        const hash = createHash("sha256");
        for await (const chunk of response) {
          hash.update(chunk as Buffer);
          await sleep(everyMs);
        }
        return hash.digest("hex");
      };
      const digest = read();
      digest.catch(() => undefined);
      resolve({ digest });
    }).once("error", reject);
  });
}
