// Sends a resource: status, headers and body, with back-pressure. On an error the connection is cut, so that no client
// takes an incomplete body for a complete one.

import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { abortable } from "../base/abort.ts";
import { httpDate } from "../base/clock.ts";
import type { Resource } from "../publishing/resource.ts";
import { HttpError } from "./error-responses.ts";
import { precondition, rangeMayApply } from "./preconditions.ts";
import { pickRange } from "./range-header.ts";
import type { HttpRequestContext } from "./request-context.ts";

/** apt gives up after 30 s without a byte but retries after an error response, so the error must come earlier. */
export const defaultFirstByteTimeoutMs = 25_000;

/** A larger body is read only when all earlier responses of the connection are sent: until then it would occupy memory. */
const maxBytesAhead = 256 * 1024;

const aYearUnchanged = "max-age=31536000, immutable";
const cacheControl = {
  public: { immutable: `public, ${aYearUnchanged}`, revalidate: "no-cache", "per-client": "private, no-cache" },
  private: {
    immutable: `private, ${aYearUnchanged}`,
    revalidate: "private, no-cache",
    "per-client": "private, no-cache",
  },
} as const satisfies Record<string, Readonly<Record<Resource["caching"], string>>>;

/** Who may cache a response: a private one only the client, no shared cache. */
export type Audience = keyof typeof cacheControl;

/**
 * Answers a GET or HEAD. Failures before the first byte are thrown; later ones cut the connection.
 * @param context its signal is aborted when the client disconnects or the first byte takes too long
 */
export async function sendResource(
  resource: Resource,
  request: IncomingMessage,
  response: ServerResponse,
  context: Pick<HttpRequestContext, "id" | "signal">,
  audience: Audience = "public",
): Promise<void> {
  const { headers, method } = request;
  const { sizeBytes } = resource;
  const head = headOf(resource, audience);
  const verdict = precondition(headers, head);
  if (verdict === "failed") throw new HttpError("request/precondition", "the resource has changed");
  if (verdict === "not-modified") {
    writeHead(response, 304, head.notModified, context.id).end();
    return;
  }
  const wantsRange = method === "GET" && headers.range !== undefined && rangeMayApply(headers, head);
  const part = wantsRange ? pickRange(headers.range, sizeBytes) : "whole";
  if (part === "unsatisfiable") {
    const text = `the resource has ${sizeBytes} bytes, none of them in the range`;
    throw new HttpError("request/range", text, { "Content-Range": `bytes */${sizeBytes}` });
  }
  const { start, end } = part === "whole" ? { start: 0, end: sizeBytes } : part;
  const fields =
    part === "whole" ? head.whole : [...head.validators, ...rangeFields(resource, part), ...requestIdField];
  const status = part === "whole" ? 200 : 206;

  if (method === "HEAD" || sizeBytes === 0) {
    writeHead(response, status, fields, context.id).end();
    return;
  }
  if (resource.bytesNow !== undefined) {
    const bytes = resource.bytesNow();
    writeHead(response, status, fields, context.id).end(part === "whole" ? bytes : bytes.subarray(start, end));
    return;
  }
  const { signal } = context;
  if (end - start > maxBytesAhead && response.socket === null) await once(response, "socket", { signal });
  // The "socket" event is also emitted when the connection is closed.
  if (response.socket?.destroyed === true) return;
  const body = await abortable(resource.read({ start, end }, signal, "fleeting"), signal);
  if (!(body instanceof Uint8Array))
    return sendStream(body, end - start, response, signal, { status, fields, requestId: context.id });
  if (body.length !== end - start) throw new Error(`read ${body.length} bytes of ${end - start}`);
  writeHead(response, status, fields, context.id).end(body);
}

/** Header names and values, alternating. */
type Fields = string[];

/** The last field of each response. */
const requestIdField = ["X-Request-Id", ""] as const;

/**
 * @param fields end with the field of the request id, whose value is set here. So responses can share them: Node.js reads
 *   them at once, and a copy for each response costs more than the rest of the id.
 */
function writeHead(response: ServerResponse, status: number, fields: Fields, requestId: string): ServerResponse {
  fields[fields.length - 1] = requestId;
  return response.writeHead(status, fields);
}

/** The header fields of responses about a resource. */
interface Head extends Pick<Resource, "etag" | "lastModifiedSeconds"> {
  readonly lastModified: string | undefined;
  readonly validators: Fields;
  /** The fields of a 304. */
  readonly notModified: Fields;
  /** The fields of a response with the whole resource. */
  readonly whole: Fields;
}

/** Cached, because few resources get most of the requests. */
const heads = { public: new WeakMap<Resource, Head>(), private: new WeakMap<Resource, Head>() };

function headOf(resource: Resource, audience: Audience): Head {
  const known = heads[audience].get(resource);
  if (known !== undefined) return known;
  const { etag, lastModifiedSeconds, caching, sizeBytes } = resource;
  const lastModified = lastModifiedSeconds === undefined ? undefined : httpDate(lastModifiedSeconds);
  const validators = ["ETag", `"${etag}"`, "Cache-Control", cacheControl[audience][caching]];
  if (lastModified !== undefined) validators.push("Last-Modified", lastModified);
  const notModified = [...validators, ...requestIdField];
  const whole = [...validators, ...bodyFields(resource, sizeBytes), ...requestIdField];
  const head = { etag, lastModifiedSeconds, lastModified, validators, notModified, whole };
  heads[audience].set(resource, head);
  return head;
}

function bodyFields({ contentType }: Resource, lengthBytes: number): Fields {
  const length = String(lengthBytes);
  const lasting = ["Accept-Ranges", "bytes", "X-Content-Type-Options", "nosniff"];
  return ["Content-Type", contentType, "Content-Length", length, ...lasting];
}

const rangeFields = (resource: Resource, { start, end }: { readonly start: number; readonly end: number }): Fields => [
  ...bodyFields(resource, end - start),
  "Content-Range",
  `bytes ${start}-${end - 1}/${resource.sizeBytes}`,
];

async function sendStream(
  body: AsyncIterable<Uint8Array>,
  expectedBytes: number,
  response: ServerResponse,
  signal: AbortSignal,
  { status, fields, requestId }: { readonly status: number; readonly fields: Fields; readonly requestId: string },
): Promise<void> {
  const pieces = body[Symbol.asyncIterator]();
  let sentBytes = 0;
  try {
    // The status is sent with the first chunk: until then a failure can still be an error response.
    for (let next = await abortable(pieces.next(), signal); next.done !== true; next = await pieces.next()) {
      if (sentBytes === 0 && !response.headersSent) writeHead(response, status, fields, requestId);
      signal.throwIfAborted();
      sentBytes += next.value.length;
      if (sentBytes > expectedBytes) break;
      await flushed(response, next.value, signal);
    }
    if (sentBytes !== expectedBytes) throw new Error(`the source sent ${sentBytes} of ${expectedBytes} bytes`);
    response.end();
  } finally {
    // Not awaited: a source that hangs must not delay the error response.
    pieces.return?.().catch(() => undefined);
  }
}

/** Resolves when the operating system has taken the bytes: from then on the buffer may be reused. */
function flushed(response: ServerResponse, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
  const written = new Promise<void>((resolve) => {
    // If writing fails, the connection has ended, which aborts the signal.
    response.write(bytes, (failed) => failed ?? resolve());
  });
  return abortable(written, signal);
}
