// A proxy between a command and a real Tahoe gateway that can act at any one request: kill the command, or fail.
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, request as send } from "node:http";

export interface InterruptingGateway {
  readonly url: string;
  /** `METHOD query` of each request since the last call of `at`, without caps. */
  readonly requests: readonly string[];
  /**
   * Restarts the count, and acts at the request with this number (from 0): before it is forwarded to the real gateway,
   * or after the response. If `act` returns a status, the command gets that instead of the response.
   */
  at(number: number, when: "before" | "after", act: () => number | undefined): void;
  end(): Promise<void>;
}

export async function interruptingGateway(upstream: string): Promise<InterruptingGateway> {
  const requests: string[] = [];
  let chosen = { number: -1, when: "before", act: (): number | undefined => undefined };
  const server = createServer((request, response) => {
    const number = requests.push(`${request.method} ${new URL(request.url ?? "", upstream).search}`) - 1;
    const act = (when: "before" | "after") =>
      number === chosen.number && chosen.when === when ? chosen.act() : undefined;
    forward(request, response, upstream, act);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return {
    url: `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`,
    requests,
    at(number, when, act) {
      requests.length = 0;
      chosen = { number, when, act };
    },
    async end() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

function forward(
  request: IncomingMessage,
  response: ServerResponse,
  upstream: string,
  act: (when: "before" | "after") => number | undefined,
): void {
  const fail = (status: number) => response.writeHead(status).end("failed on purpose\n");
  const early = act("before");
  if (early !== undefined) {
    request.resume();
    fail(early);
    return;
  }
  const onward = send(upstream + request.url, { method: request.method, headers: request.headers }, (answer) => {
    const late = act("after");
    if (late !== undefined) {
      answer.resume();
      fail(late);
      return;
    }
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(response);
  });
  // The command was killed, or the gateway closed the connection; in both cases the exchange is over.
  for (const stream of [request, response, onward]) stream.on("error", () => response.destroy());
  request.pipe(onward);
}
