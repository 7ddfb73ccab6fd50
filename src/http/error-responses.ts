// Translates errors into HTTP responses: a status and a stable code, and a text that is never empty and contains no cap.
import type { ServerResponse } from "node:http";
import type { ErrorCode } from "../base/error-codes.ts";
import { codeOf, messageOf, RepoError } from "../base/errors.ts";
import { redact } from "../base/redact.ts";

/**
 * The HTTP status of each error code. 500 stands for an error that no request should ever meet: the reply shows neither
 * its code nor its text. Only an absent file is 404, because apt takes that as final.
 */
export const errorStatuses = {
  "request/malformed": 400,
  "name/malformed": 400,
  "request/unauthorized": 401,
  "request/forbidden": 403,
  "request/not-found": 404,
  "request/method": 405,
  "request/timeout": 408,
  "request/precondition": 412,
  "request/too-long": 414,
  "request/range": 416,
  "request/rate": 429,
  "request/headers-too-large": 431,
  "request/not-implemented": 501,
  "server/not-ready": 503,
  "server/slow-source": 503,
  "publishing/not-seen-yet": 503,
  "publishing/busy": 503,
  "publishing/changelog-unreadable": 503,
  "publishing/clock-behind": 503,
  "limit/exceeded": 503,
  "state/unwritable": 503,
  "storage/gone": 404,
  "storage/unavailable": 503,
  "content/mismatch": 503,
  "cluster/unavailable": 503,
  "cluster/lease-lost": 503,

  "server/listen-failed": 500,
  "server/internal": 500,
  "state/in-use": 500,
  "state/corrupt": 500,
  "state/too-new": 500,
  "state/restore-unfinished": 500,
  "state/secret-file": 500,
  "storage/bad-cap": 500,
  "storage/bad-certificate": 500,
  "storage/bad-webapi-url": 500,
  "storage/full": 500,
  "debian/malformed": 500,
  "debian/relations": 500,
  "debian/version": 500,
  "debian/deb822": 500,
  "indices/unwritable": 500,
  "indices/xz-form": 500,
  "signing/key-file": 500,
  "signing/unfit-key": 500,
  "catalog/inspector-failed": 500,
  "catalog/bad-override": 500,
  "publishing/blob-missing": 500,
  "publishing/segment-missing": 500,
  "publishing/damaged": 500,
  "publishing/identity-changed": 500,
  "publishing/no-such-past": 500,
  "cache/unwritable": 500,
  "publishing/publish-incomplete": 500,
  "publishing/export-incomplete": 500,
  "publishing/no-write-cap": 500,
  "publishing/foreign-site": 500,
  "usage/wrong-arguments": 500,
  "configuration/invalid": 500,
  "backup/failed": 500,
  "backup/refused": 500,
  "backup/unusable": 500,
  "operator/choice-needed": 500,
  "operator/refused": 500,
  "builder/bad-bundle": 500,
  "builder/bad-pattern": 500,
  "builder/file-changed": 500,
  "builder/listing-unknown": 500,
  "builder/outside-bundle": 500,
  "builder/overtaken": 500,
  "builder/ping-refused": 500,
  "owner/no-tree": 500,
  "upstream/absent": 500,
  "upstream/bad-signature": 500,
  "upstream/expired": 500,
  "upstream/malformed": 500,
  "upstream/mismatch": 500,
  "upstream/not-yet-valid": 500,
  "upstream/older": 500,
  "upstream/other-suite": 500,
  "upstream/outside": 500,
  "verify/nothing": 500,
  "verify/site-unavailable": 500,
  "demo/failed": 500,
  "demo/no-packages": 500,
  "grid/failed": 500,
  "grid/install-failed": 500,
  "grid/tool-missing": 500,
  "start/no-grid": 500,
  "start/running": 500,
  "start/not-published": 500,
  unknown: 500,
} as const satisfies Record<ErrorCode, number>;

/** The codes that only an HttpError has. */
type HttpErrorCode = Extract<ErrorCode, `request/${string}`> | "server/not-ready" | "server/slow-source";

/** When a client should come back after a fault that may pass. @see RFC 9110 10.2.3 */
const retryAfterSeconds = 5;

/** An error response. The message is written for people and sent in the body. */
export class HttpError extends RepoError {
  readonly code: HttpErrorCode;
  readonly headers: { readonly [name: string]: string };
  constructor(code: HttpErrorCode, message: string, headers: { readonly [name: string]: string } = {}) {
    super(message);
    this.code = code;
    this.headers = headers;
  }
}

/** @param allow the allowed methods, as in the Allow header */
export const methodNotAllowed = (method: string, allow: string): HttpError =>
  new HttpError("request/method", `${method} is not allowed here; allowed: ${allow}`, { Allow: allow });

/** The response to a failed request. */
export interface ErrorResponse {
  readonly status: number;
  readonly code: ErrorCode;
  /** For people; without caps. */
  readonly text: string;
  /** The body for clients other than browsers: status, code and text in one line. */
  readonly body: string;
  readonly headers: { readonly [name: string]: string };
}

/** Translates anything thrown. The text of an unexpected error is not disclosed. */
export function errorResponseOf(thrown: unknown): ErrorResponse {
  const status = errorStatuses[codeOf(thrown)];
  const isExpected = status !== 500;
  const code = isExpected ? codeOf(thrown) : "server/internal";
  const text = isExpected ? redact(messageOf(thrown)) : "internal error; see the server's log";
  return {
    status,
    code,
    text,
    body: `${status} ${code}: ${text}\n`,
    headers: {
      // The next publication may contain the file: no cache may keep a 404.
      "Cache-Control": "no-store",
      ...(status >= 500 ? { "Retry-After": String(retryAfterSeconds) } : {}),
      ...(thrown instanceof HttpError ? thrown.headers : {}),
    },
  };
}

/** The page that a browser gets instead of the text. */
export interface ErrorPage {
  readonly html: string;
  readonly contentSecurityPolicy: string;
}

/**
 * Sends an error response. If a response has begun already, closes the connection, so that it is seen to be incomplete.
 */
export function sendErrorResponse(
  response: ServerResponse,
  errorResponse: ErrorResponse,
  requestId: string,
  page?: ErrorPage,
): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  for (const name of response.getHeaderNames()) response.removeHeader(name);
  const body = Buffer.from(page?.html ?? errorResponse.body);
  response.writeHead(errorResponse.status, {
    "Content-Type": page === undefined ? "text/plain; charset=utf-8" : "text/html; charset=utf-8",
    ...(page !== undefined && {
      "Content-Security-Policy": page.contentSecurityPolicy,
      "Referrer-Policy": "no-referrer",
    }),
    "Content-Length": body.length,
    "X-Content-Type-Options": "nosniff",
    "X-Request-Id": requestId,
    ...errorResponse.headers,
  });
  response.end(response.req.method === "HEAD" ? undefined : body);
}
