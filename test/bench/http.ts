// Requests to the servers under measurement, over one kept connection, with as little of our own time as may be.
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { Agent, request } from "node:http";
import { buffer } from "node:stream/consumers";

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly body: Buffer;
}

const agent = new Agent({ keepAlive: true, maxSockets: 4 });
const answerTimeoutMs = 10 * 60_000;

export interface AskOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  /** With its own connection a request never waits for others of this process. */
  readonly connection?: "shared" | "own";
}

/** @throws the system's error where nobody answers */
export async function ask(
  method: "GET" | "POST" | "HEAD",
  url: string,
  { headers = {}, signal, connection = "shared" }: AskOptions,
): Promise<Answer> {
  const by = connection === "own" ? false : agent;
  const asking = request(url, { method, headers, agent: by, signal, timeout: answerTimeoutMs });
  asking.end();
  const [response] = (await once(asking, "response")) as [IncomingMessage];
  return { status: response.statusCode ?? 0, headers: response.headers, body: await buffer(response) };
}
