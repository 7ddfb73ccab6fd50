// A proxy between the server and a real gateway that breaks a part of the responses, each in one of many ways.
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { Agent, createServer, request as send } from "node:http";
import { setTimeout as wait } from "node:timers/promises";
import type { Chance } from "./random.ts";

/** What can happen to a response. */
export const gatewayFaults = [
  "slow",
  "hang",
  "trickle",
  "reset",
  "reset in the middle",
  "shorter than announced",
  "longer than announced",
  "wrong bytes",
  "500",
  "HTML",
] as const;
export type GatewayFault = (typeof gatewayFaults)[number];

const html = "<!DOCTYPE html><html><title>Log in</title><p>Please log in to this network.</html>\n";

export class FaultyGateway {
  /** How many responses of a hundred are broken. */
  percent = 0;
  /** The faults that responses have now. */
  faults: readonly GatewayFault[] = gatewayFaults;
  /** How often each fault happened. */
  readonly counts = new Map<GatewayFault, number>();
  readonly url: string;
  readonly #server: ReturnType<typeof createServer>;
  readonly #agent: Agent;

  private constructor(server: ReturnType<typeof createServer>, agent: Agent) {
    this.#server = server;
    this.#agent = agent;
    const address = server.address();
    this.url = `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
  }

  /**
   * @param isKnown whether the server has inspected a file already. Nobody else could notice wrong bytes before: the
   *   gateway decrypts and verifies, and the server trusts it.
   */
  static async start(upstream: string, chance: Chance, isKnown: (path: string) => boolean): Promise<FaultyGateway> {
    const agent = new Agent({ keepAlive: true });
    let gateway: FaultyGateway | undefined;
    const server = createServer((request, response) => {
      const fault = gateway?.choose(request, chance, isKnown);
      void forward(request, response, { upstream, agent, fault, chance }).catch(() => response.destroy());
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    gateway = new FaultyGateway(server, agent);
    return gateway;
  }

  choose(request: IncomingMessage, chance: Chance, isKnown: (path: string) => boolean): GatewayFault | undefined {
    if (!chance.isLikely(this.percent / 100)) return undefined;
    const fault = chance.oneOf(this.faults);
    // Equal length and other bytes: only a hash that is known from elsewhere shows it.
    if (fault === "wrong bytes" && !isKnown(request.url ?? "")) return undefined;
    this.counts.set(fault, (this.counts.get(fault) ?? 0) + 1);
    return fault;
  }

  async end(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    this.#agent.destroy();
    await once(this.#server, "close");
  }
}

interface Passage {
  readonly upstream: string;
  readonly agent: Agent;
  readonly fault: GatewayFault | undefined;
  readonly chance: Chance;
}

async function forward(request: IncomingMessage, response: ServerResponse, passage: Passage): Promise<void> {
  const { upstream, agent, fault, chance } = passage;
  response.on("error", () => response.destroy());
  request.on("error", () => response.destroy());
  if (fault === "hang") return void request.resume();
  if (fault === "reset") return void request.socket.resetAndDestroy();
  if (fault === "500" || fault === "HTML") {
    request.resume();
    response.writeHead(fault === "500" ? 500 : 200, { "Content-Type": "text/html" }).end(html);
    return;
  }
  if (fault === "slow") await wait(chance.between(100, 3000));
  const onward = send(upstream + request.url, { method: request.method, headers: request.headers, agent });
  onward.on("error", () => response.destroy());
  request.pipe(onward);
  const [answer] = (await once(onward, "response")) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of answer as AsyncIterable<Buffer>) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  const middle = body.length >> 1;
  if (fault === "wrong bytes" && body.length > 0) body[middle] = (body[middle] ?? 0) ^ (1 << chance.below(8));
  const announced = body.length + (fault === "shorter than announced" ? 7 : fault === "longer than announced" ? -7 : 0);
  const headers = { ...answer.headers, "content-length": String(Math.max(0, announced)) };
  delete (headers as Record<string, unknown>)["transfer-encoding"];
  response.strictContentLength = false;
  response.writeHead(answer.statusCode ?? 502, headers);
  if (fault === "reset in the middle")
    response.write(body.subarray(0, middle), () => response.socket?.resetAndDestroy());
  else if (fault === "shorter than announced") response.write(body, () => response.socket?.end());
  else if (fault === "trickle") await trickle(body, response);
  else response.end(body);
}

/** Sends the first bytes one by one. */
async function trickle(body: Buffer, response: ServerResponse): Promise<void> {
  for (const [at] of body.subarray(0, 20).entries()) {
    if (!response.writable) return;
    response.write(body.subarray(at, at + 1));
    await wait(100);
  }
  response.end(body.subarray(20));
}
