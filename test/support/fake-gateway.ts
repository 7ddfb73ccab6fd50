// A gateway that misbehaves on demand, for faults that a real Tahoe node cannot be made to show.
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:http";

export interface FakeGateway {
  readonly url: string;
  /** `METHOD /path` of each request, with its Range if it had one. */
  readonly requests: string[];
  /** The bytes that were written to the sockets so far. */
  bytesSent(): number;
  /** The number of open connections. */
  connections(): Promise<number>;
  end(): Promise<void>;
}

export type Answer = (request: IncomingMessage, response: ServerResponse, count: number) => void;

/** @param answer gets the number of earlier requests */
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
    // Bytes that were written but still wait in this process count as sent, so they are subtracted.
    bytesSent: () =>
      [...sockets].reduce((sum, { bytesWritten, writableLength }) => sum + bytesWritten - writableLength, closedBytes),
    connections: async () => sockets.size,
    async end() {
      server.close();
      server.closeAllConnections();
    },
  };
}
