// A gateway that misbehaves on demand: for faults that a real Tahoe node can't be made to show.
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:http";

export interface FakeGateway {
  readonly url: string;
  /** `METHOD /path` of each request, and its Range if it had one. */
  readonly requests: string[];
  /** Bytes handed to the sockets so far. */
  bytesSent(): number;
  /** Connections that are open now. */
  connections(): Promise<number>;
  end(): Promise<void>;
}

export type Answer = (request: IncomingMessage, response: ServerResponse, count: number) => void;

/** @param answer is told how many requests came before */
export async function fakeGateway(answer: Answer): Promise<FakeGateway> {
  const requests: string[] = [];
  let closedBytes = 0;
  const sockets = new Set<IncomingMessage["socket"]>();
  const server = createServer((request, response) => {
    const range = request.headers.range;
    requests.push(`${request.method} ${request.url}${range === undefined ? "" : ` ${range}`}`);
    answer(request, response, requests.length - 1);
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => {
      sockets.delete(socket);
      closedBytes += socket.bytesWritten;
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    // What is written to a socket but waits in this process counts as sent too, so it is taken off.
    bytesSent: () =>
      [...sockets].reduce((sum, { bytesWritten, writableLength }) => sum + bytesWritten - writableLength, closedBytes),
    connections: async () => sockets.size,
    async end() {
      server.close();
      server.closeAllConnections();
    },
  };
}
