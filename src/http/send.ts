// Resource → reply: status, headers and body, with back-pressure, and cut rather than completed with wrong bytes.
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { httpDate } from "../base/clock.ts";
import type { Resource } from "../publishing/resource.ts";
import { precondition, rangeMayApply } from "./conditional.ts";
import { RequestRefused } from "./problems.ts";
import { pickRange } from "./ranges.ts";

/** apt gives up after 30 s without a byte, and tries again after a proper error: so ours comes before that. */
export const defaultFirstByteTimeoutMs = 25_000;

/** A larger body is not read before the replies ahead of it on its connection are out: it would wait in memory. */
const maxBytesAhead = 256 * 1024;

const aYearUnchanged = "max-age=31536000, immutable";
const cacheControl = {
  public: { immutable: `public, ${aYearUnchanged}`, revalidate: "no-cache" },
  private: { immutable: `private, ${aYearUnchanged}`, revalidate: "private, no-cache" },
} as const satisfies Record<string, Readonly<Record<Resource["caching"], string>>>;

/** Who may keep a copy: a private reply is for the client alone, and no cache shares it. */
export type Audience = keyof typeof cacheControl;

/**
 * Answers a GET or HEAD. Before the first byte every failure is thrown; after it the connection is cut.
 * @param signal aborted when the client goes away or the first byte takes too long
 */
export async function sendResource(
  resource: Resource,
  request: IncomingMessage,
  response: ServerResponse,
  signal: AbortSignal,
  audience: Audience = "public",
): Promise<void> {
  const { headers, method } = request;
  const { sizeBytes, lastModifiedSeconds } = resource;
  const fields = ["ETag", `"${resource.etag}"`, "Cache-Control", cacheControl[audience][resource.caching]];
  if (lastModifiedSeconds !== undefined) fields.push("Last-Modified", httpDate(lastModifiedSeconds));
  const verdict = precondition(headers, resource);
  if (verdict === "failed") throw new RequestRefused("request/precondition", "the resource is another one by now");
  if (verdict === "not-modified") {
    response.writeHead(304, fields).end();
    return;
  }
  const wantsRange = method === "GET" && headers.range !== undefined && rangeMayApply(headers, resource);
  const part = wantsRange ? pickRange(headers.range, sizeBytes) : "whole";
  if (part === "unsatisfiable") {
    const text = `there are ${sizeBytes} bytes, and none of the range`;
    throw new RequestRefused("request/range", text, { "Content-Range": `bytes */${sizeBytes}` });
  }
  const { start, end } = part === "whole" ? { start: 0, end: sizeBytes } : part;
  fields.push("Content-Type", resource.contentType, "Content-Length", String(end - start));
  fields.push("Accept-Ranges", "bytes", "X-Content-Type-Options", "nosniff");
  if (part !== "whole") fields.push("Content-Range", `bytes ${start}-${end - 1}/${sizeBytes}`);
  const status = part === "whole" ? 200 : 206;

  if (method === "HEAD" || sizeBytes === 0) {
    response.writeHead(status, fields).end();
    return;
  }
  if (end - start > maxBytesAhead && response.socket === null) await once(response, "socket", { signal });
  // A connection that is closed passes the turn on as well.
  if (response.socket?.destroyed === true) return;
  const body = await unlessAborted(resource.read({ start, end }, signal), signal);
  if (!(body instanceof Uint8Array)) return sendStream(body, end - start, response, signal, { status, fields });
  if (body.length !== end - start) throw new Error(`read ${body.length} bytes of ${end - start}`);
  response.writeHead(status, fields).end(body);
}

async function sendStream(
  body: AsyncIterable<Uint8Array>,
  expectedBytes: number,
  response: ServerResponse,
  signal: AbortSignal,
  head: { readonly status: number; readonly fields: string[] },
): Promise<void> {
  const pieces = body[Symbol.asyncIterator]();
  let sentBytes = 0;
  try {
    // Nothing is promised before the source has given something: until then a failure is a proper error reply.
    for (let next = await unlessAborted(pieces.next(), signal); next.done !== true; next = await pieces.next()) {
      if (sentBytes === 0 && !response.headersSent) response.writeHead(head.status, head.fields);
      signal.throwIfAborted();
      sentBytes += next.value.length;
      if (sentBytes > expectedBytes) break;
      if (!response.write(next.value)) await once(response, "drain", { signal });
    }
    if (sentBytes !== expectedBytes) throw new Error(`the source gave ${sentBytes} bytes of ${expectedBytes}`);
    response.end();
  } finally {
    // Not awaited: a source that is stuck may not hold up the error reply.
    pieces.return?.().catch(() => undefined);
  }
}

/** A promise's outcome, or the signal's reason if that comes first, even if the source does not heed its signal. */
function unlessAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason as Error);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
