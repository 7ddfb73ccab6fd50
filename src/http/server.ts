// The application on a port: limits on what clients may send and how long they may take, and a graceful end.
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { createHttpTerminator } from "http-terminator";
import type { Problem } from "./problems.ts";
import { problemOf, RequestRefused } from "./problems.ts";

/** Request line and header fields together. */
export const maxHeaderBytes = 16 * 1024;
/** From a request's first byte to the end of its header fields. */
const headersTimeoutMs = 15_000;
/** From a request's first byte to its end. */
const requestTimeoutMs = 60_000;
/** A client that takes nothing for so long is cut. */
const silentSocketTimeoutMs = 120_000;
/** Longer than proxies and load balancers commonly keep their own idle connections. */
const keepAliveTimeoutMs = 75_000;
/** More connections than these are refused. */
const defaultMaxConnections = 4096;

/** Requests of one connection that are worked on at once, the others wait; apt sends ten before it reads a reply. */
const maxPipelined = 16;

/** The longest time that a timer can be set to: the grace period is kept by `stop` itself. */
const maxTimerMs = 2 ** 31 - 1;

export interface ServerOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly maxConnections?: number;
}

export interface RunningServer {
  readonly address: { readonly host: string; readonly port: number };
  /** Stops accepting, lets what is under way finish for so long, then cuts it. Resolves when all is closed. */
  stop(graceMs: number): Promise<void>;
}

/** What is under way on one connection. */
interface Exchanges {
  underWay: number;
  /** In the order of their requests. */
  readonly waiting: (() => void)[];
}

/** @throws the system's error where the address can't be listened on */
export async function startServer(answer: RequestListener, options: ServerOptions): Promise<RunningServer> {
  const exchanges = new WeakMap<Duplex, Exchanges>();
  const listener = (request: IncomingMessage, response: ServerResponse) => {
    const { socket } = request;
    const own = exchanges.get(socket) ?? { underWay: 0, waiting: [] };
    exchanges.set(socket, own);
    const begin = () => {
      // Nobody hears a reply on a closed connection, nor would anything end its wait for a turn.
      if (socket.destroyed) return;
      own.underWay += 1;
      response.once("finish", () => {
        own.underWay -= 1;
        own.waiting.shift()?.();
      });
      answer(request, response);
    };
    if (own.underWay < maxPipelined) begin();
    else own.waiting.push(begin);
  };
  const server = createServer(
    {
      maxHeaderSize: maxHeaderBytes,
      headersTimeout: headersTimeoutMs,
      requestTimeout: requestTimeoutMs,
      keepAliveTimeout: keepAliveTimeoutMs,
    },
    listener,
  );
  server.maxConnections = options.maxConnections ?? defaultMaxConnections;
  server.setTimeout(silentSocketTimeoutMs);
  server.on("clientError", (error: NodeJS.ErrnoException, socket: Duplex) => {
    // A reply under way must not get this one mixed into its bytes.
    if (socket.writable && (exchanges.get(socket)?.underWay ?? 0) === 0)
      socket.end(rawReply(problemOf(refusalOf(error.code))));
    else socket.destroy();
  });
  const terminator = createHttpTerminator({ server, gracefulTerminationTimeout: maxTimerMs });

  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port, options.host, () => {
      server.off("error", reject);
      resolve();
    });
  });
  const { address, port } = server.address() as AddressInfo;
  return {
    address: { host: address, port },
    async stop(graceMs) {
      const cut = setTimeout(() => server.closeAllConnections(), graceMs);
      await terminator.terminate();
      clearTimeout(cut);
    },
  };
}

function refusalOf(code: string | undefined): RequestRefused {
  switch (code ?? "unknown") {
    case "HPE_HEADER_OVERFLOW":
      return new RequestRefused(
        "request/headers-too-large",
        `request line and headers have at most ${maxHeaderBytes} bytes`,
      );
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return new RequestRefused("request/timeout", "the request did not arrive in time");
    default:
      return new RequestRefused("request/malformed", "this is not HTTP/1.1");
  }
}

function rawReply({ status, body, headers }: Problem): string {
  const fields = { ...headers, "Content-Type": "text/plain; charset=utf-8", "Content-Length": Buffer.byteLength(body) };
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status} Refused\r\nConnection: close\r\n${lines.join("")}\r\n${body}`;
}
