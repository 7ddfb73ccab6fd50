// The HTTP server: limits on the size and duration of requests, and graceful shutdown.
import type { RequestListener, ServerResponse } from "node:http";
import { createServer } from "node:http";
import { Server as NetServer, Socket } from "node:net";
import type { Clock } from "../base/clock.ts";
import { systemClock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { silentLog } from "../base/log.ts";
import { networkOf } from "./client-address.ts";
import type { ConnectionLimits } from "./connections.ts";
import { Connections, defaultConnectionLimits } from "./connections.ts";
import type { ErrorResponse } from "./error-responses.ts";
import { errorResponseOf, HttpError } from "./error-responses.ts";
import { newRequestId } from "./request-id.ts";

/** The maximum size of request line and header fields together. */
export const maxHeaderBytes = 16 * 1024;
/** How much longer the header may be of a request that another process passes on. */
const addedHeaderBytes = 1024;
/** The maximum time from a request's first byte to its last. */
const requestTimeoutMs = 60_000;
/** A connection on which nothing is sent or received for this long is closed. */
export const silentSocketTimeoutMs = 120_000;
/** Longer than proxies and load balancers usually keep idle connections. */
const keepAliveTimeoutMs = 75_000;
/** How often the header timeout is checked. With Node's default of 30 s, a client would have up to 45 s. */
const headersCheckMs = 1000;
/** How long a rejected client has to read the error response and close its end. */
const refusalMs = 1000;

export interface ServerOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** File descriptors of TCP sockets that listen already, which replace host and port. */
  readonly listeningSockets?: readonly number[];
  /** A Unix socket to create, which replaces host and port. */
  readonly socketPath?: string;
  /**
   * When the server stops, a connection without a request stays open until it has been idle for this long, because its
   * next request may be on the way; 0 by default.
   */
  readonly minIdleMs?: number;
  readonly limits?: Partial<ConnectionLimits>;
  /** Whether all connections come from a trusted proxy, and so from one address. */
  readonly behindProxy?: boolean;
  /** Receives limits that were exceeded; silent by default. */
  readonly log?: Log;
  readonly clock?: Clock;
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface RunningServer {
  /** The first of `addresses`. */
  readonly address: Address;
  /** Where the server listens. */
  readonly addresses: readonly Address[];
  /** Changes the limits for connections and requests that begin from now on. */
  reconfigure(options: Pick<ServerOptions, "limits" | "behindProxy">): void;
  /** Stops accepting connections and closes those that still have requests after the grace period. Resolves when all are closed. */
  stop(graceMs: number): Promise<void>;
}

/** @throws the system error if listening on the address fails */
export async function startServer(answer: RequestListener, options: ServerOptions): Promise<RunningServer> {
  let limits = { ...defaultConnectionLimits, ...options.limits };
  const { behindProxy = false, log = silentLog, clock = systemClock } = options;
  const connections = new Connections(limits, { behindProxy, log, clock });
  /** The response to the most recent request of each connection, until it is sent. */
  const newest = new Map<Socket, ServerResponse>();
  let isStopping = false;
  const server = createServer(
    {
      maxHeaderSize: options.socketPath === undefined ? maxHeaderBytes : maxHeaderBytes + addedHeaderBytes,
      ...timeoutsOf(limits),
      connectionsCheckingInterval: headersCheckMs,
      keepAliveTimeout: keepAliveTimeoutMs,
    },
    (request, response) => {
      const { socket } = request;
      newest.set(socket, response);
      response.once("close", () => newest.get(socket) === response && newest.delete(socket));
      if (isStopping) announceClose(response);
      connections.enqueue(socket, (finished) => {
        response.once("finish", finished);
        answer(request, response);
      });
    },
  );
  server.setTimeout(silentSocketTimeoutMs);
  server.on("connection", (socket) => connections.add(socket));
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    if (!(socket instanceof Socket)) {
      socket.destroy();
      return;
    }
    if (error.code === "ERR_HTTP_REQUEST_TIMEOUT") {
      const address = networkOf(socket.remoteAddress ?? "");
      connections.hit("headers_timeout_seconds", limits.headersTimeoutSeconds, address);
    }
    // This response must not be mixed into the bytes of another one that is being sent.
    if (!socket.writable || connections.isBusy(socket)) socket.destroy();
    else refuse(socket, errorResponseOf(refusalOf(error.code)));
  });

  const { host, port, socketPath, listeningSockets = [], minIdleMs = 0 } = options;
  const own = socketPath === undefined ? { host, port } : { path: socketPath };
  const places = listeningSockets.length === 0 ? [own] : listeningSockets.map((fd) => ({ fd }));
  // An HTTP server can listen on one socket only; the connections of others are passed to it.
  const pass = (socket: Socket): void => void server.emit("connection", socket);
  const listeners = places.map((_, index) =>
    index === 0 ? server : new NetServer({ allowHalfOpen: true, noDelay: true }, pass),
  );
  const addresses: Address[] = [];
  for (const [index, place] of places.entries()) addresses.push(await listen(listeners[index] ?? server, place));
  return {
    address: addresses[0] ?? { host, port },
    addresses,
    reconfigure({ limits: changed, behindProxy: isBehindProxy = false }) {
      limits = { ...defaultConnectionLimits, ...changed };
      connections.configure(limits, isBehindProxy);
      Object.assign(server, timeoutsOf(limits));
    },
    async stop(graceMs) {
      isStopping = true;
      const cut = setTimeout(() => server.closeAllConnections(), graceMs);
      // http.Server's own `close` would also destroy connections whose last response has ended but is not yet sent.
      const closed = Promise.all(
        listeners.map((each) => new Promise<void>((resolve) => NetServer.prototype.close.call(each, () => resolve()))),
      );
      for (const response of newest.values()) announceClose(response);
      connections.drain(minIdleMs);
      await closed;
      clearTimeout(cut);
      // Ends the timer with which http.Server checks for slow requests.
      server.close();
    },
  };
}

/** @returns the address that the server listens on */
async function listen(
  server: NetServer,
  place: Address | { readonly fd: number } | { readonly path: string },
): Promise<Address> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(place, () => {
      server.off("error", reject);
      resolve();
    });
  });
  const bound = server.address();
  if ("path" in place) return { host: place.path, port: 0 };
  if (bound === null || typeof bound === "string") {
    server.close();
    throw new Error("the socket is not a TCP socket");
  }
  return { host: bound.address, port: bound.port };
}

function timeoutsOf({ headersTimeoutSeconds }: ConnectionLimits) {
  const headersTimeout = headersTimeoutSeconds * 1000;
  return { headersTimeout, requestTimeout: Math.max(requestTimeoutMs, headersTimeout) };
}

/** Announces the end of the connection with this response, unless its headers are sent already. */
function announceClose(response: ServerResponse): void {
  if (!response.headersSent) response.setHeader("Connection", "close");
}

/** Sends an error response and soon closes the connection, even if the client keeps sending or never closes its end. */
function refuse(socket: Socket, errorResponse: ErrorResponse): void {
  socket.end(rawReply(errorResponse));
  const closing = setTimeout(() => socket.destroy(), refusalMs);
  socket.once("close", () => clearTimeout(closing));
}

function refusalOf(code: string | undefined): HttpError {
  switch (code ?? "unknown") {
    case "HPE_HEADER_OVERFLOW":
      return new HttpError(
        "request/headers-too-large",
        `request line and headers have at most ${maxHeaderBytes} bytes`,
      );
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return new HttpError("request/timeout", "the request did not arrive in time");
    default:
      return new HttpError("request/malformed", "this is not HTTP/1.1");
  }
}

function rawReply({ status, body, headers }: ErrorResponse): string {
  const fields = {
    ...headers,
    "Content-Type": "text/plain; charset=utf-8",
    "Content-Length": Buffer.byteLength(body),
    "X-Request-Id": newRequestId(),
  };
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status} Refused\r\nConnection: close\r\n${lines.join("")}\r\n${body}`;
}
