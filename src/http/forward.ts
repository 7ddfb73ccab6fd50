// Passes requests on to the process that reads the tree and publishes, and its responses back, over a Unix socket.
import type { ClientRequest, IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { Agent, request as openRequest } from "node:http";
import { pipeline } from "node:stream";
import { setPeerAddress } from "./client-address.ts";
import { HttpError } from "./error-responses.ts";
import { silentSocketTimeoutMs } from "./server.ts";

/** The field in which the client's address is passed on. */
const clientField = "tahoe-apt-client";

/**
 * Fields that concern one connection, and those of a request body: the server reads none, so none is passed on.
 * @see RFC 9110 7.6.1
 */
const ownRequestFields: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "expect",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  clientField,
]);
const ownResponseFields: ReadonlySet<string> = new Set(["connection", "keep-alive", "transfer-encoding"]);

/** A connection is closed when it was idle for this long. The other process would close it later. */
const idleMs = 30_000;

export class Forwarder {
  readonly #socketPath: string;
  readonly #agent = new Agent({ keepAlive: true, timeout: idleMs });

  /** @param socketPath where the other process listens, with a listener that `receiving` has returned */
  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  /**
   * Answers a request with the response of the other process, with back-pressure. If that ends in the middle, so does
   * the response.
   * @throws HttpError if the other process does not answer; then nothing is sent
   */
  forward(request: IncomingMessage, response: ServerResponse): Promise<void> {
    return new Promise((resolve, reject) => {
      const forwarded = this.#open(request);
      const { socket } = request;
      // The other process decides how long it takes, for example for a ping.
      socket.setTimeout(0);
      const abort = () => forwarded.destroy();
      response.once("close", abort);
      // The response of a pipelined request that is still queued emits no "close" when the connection ends.
      request.once("aborted", abort);
      forwarded.once("response", (reply) => {
        socket.setTimeout(silentSocketTimeoutMs);
        response.writeHead(reply.statusCode ?? 502, reply.statusMessage, without(ownResponseFields, reply.rawHeaders));
        pipeline(reply, response, () => resolve());
      });
      forwarded.once("error", () => {
        socket.setTimeout(silentSocketTimeoutMs);
        if (response.headersSent) response.destroy();
        else reject(new HttpError("server/not-ready", "the process that reads the tree does not answer"));
      });
      forwarded.end();
    });
  }

  #open(request: IncomingMessage): ClientRequest {
    const { method = "GET", url = "/", rawHeaders, headers, socket } = request;
    const fields = without(ownRequestFields, rawHeaders);
    // Clients of HTTP/1.0 need not name a host.
    if (headers.host === undefined) fields.push("Host", `${socket.localAddress}:${socket.localPort}`);
    if (method !== "GET" && method !== "HEAD") fields.push("Content-Length", "0");
    fields.push(clientField, socket.remoteAddress ?? "");
    return openRequest({ socketPath: this.#socketPath, agent: this.#agent, method, path: url, headers: fields });
  }
}

/** Receives requests that a Forwarder passes on: they count as those of their clients. */
export const receiving =
  (answer: RequestListener): RequestListener =>
  (request, response) => {
    const address = request.headers[clientField];
    delete request.headers[clientField];
    setPeerAddress(request, String(address ?? ""));
    answer(request, response);
  };

/** @param rawFields names and values, alternating */
function without(names: ReadonlySet<string>, rawFields: readonly string[]): string[] {
  const fields: string[] = [];
  for (let at = 0; at + 1 < rawFields.length; at += 2) {
    const [name = "", value = ""] = [rawFields[at], rawFields[at + 1]];
    if (!names.has(name.toLowerCase())) fields.push(name, value);
  }
  return fields;
}
