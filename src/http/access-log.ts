// The access log: one line for each request, when its response has ended.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Log } from "../base/log.ts";
import { withoutCaps } from "../base/redact.ts";
import { lastForwarded, peerAddress } from "./client-address.ts";

/** The maximum length of a logged text from a client, in characters. */
const maxLoggedLength = 1024;

/** How a request has ended. */
export interface RequestEnd {
  readonly requestId: string;
  /** Undefined if the target of the request could not be parsed. */
  readonly path: string | undefined;
  readonly isComplete: boolean;
  readonly seconds: number;
}

export class AccessLog {
  readonly #log: Log;
  readonly #behindProxy: boolean;

  /** @param behindProxy whether the last address of X-Forwarded-For is the client's */
  constructor(log: Log, behindProxy: boolean) {
    this.#log = log;
    this.#behindProxy = behindProxy;
  }

  /** Must be called when a request arrives. @returns a function to call when its response has ended */
  begin(request: IncomingMessage, response: ServerResponse): (end: RequestEnd) => void {
    const { headers, method } = request;
    // A closed connection has no address any more.
    const client = (this.#behindProxy && lastForwarded(headers)) || peerAddress(request);
    const bytesOf = countingBody(response);
    return ({ requestId, path, isComplete, seconds }) => {
      const { "user-agent": userAgent } = headers;
      this.#log.info(
        {
          requestId,
          method,
          path: shown(path ?? withoutQuery(request.url ?? "")),
          status: response.statusCode,
          bytes: bytesOf(),
          seconds,
          client: client === undefined ? undefined : shown(client),
          ...(userAgent !== undefined && { userAgent: shown(userAgent) }),
          ...(!isComplete && { isCut: true }),
        },
        "request",
      );
    };
  }
}

/** Neither a query nor the name and password of an absolute URL is logged. */
const withoutQuery = (target: string): string => target.replace(/\?.*$/s, "").replace(/^[a-z]+:\/\/[^/]*/i, "");

const shown = (text: string): string => withoutCaps(text).slice(0, maxLoggedLength);

/** Counts the bytes of a response's body as they are written. @returns a function that returns their number */
function countingBody(response: ServerResponse): () => number {
  let bytes = 0;
  const count = (chunk: unknown, encoding: unknown): void => {
    if (chunk instanceof Uint8Array) bytes += chunk.length;
    else if (typeof chunk === "string")
      bytes += Buffer.byteLength(chunk, typeof encoding === "string" ? (encoding as BufferEncoding) : "utf8");
  };
  for (const name of ["write", "end"] as const) {
    const original = response[name].bind(response) as (...args: unknown[]) => never;
    response[name] = ((...args: unknown[]) => {
      count(args[0], args[1]);
      return original(...args);
    }) as never;
  }
  return () => (response.req.method === "HEAD" ? 0 : bytes);
}
