// The one place where an error becomes a status: by its stable code, with a text that is never empty and holds no cap.
import type { ServerResponse } from "node:http";
import type { ErrorCode } from "../base/error-codes.ts";
import { codeOf, messageOf, RepoError } from "../base/errors.ts";

/**
 * The HTTP status of each error code. 500 stands for an error that no request should ever meet: the reply shows neither
 * its code nor its text. Only an absent file is 404, because apt takes that as final.
 */
const statuses = {
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

  "server/listen-failed": 500,
  "server/internal": 500,
  "state/in-use": 500,
  "state/secret-file": 500,
  "storage/bad-cap": 500,
  "storage/bad-certificate": 500,
  "storage/bad-webapi-url": 500,
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
  "publishing/identity-changed": 500,
  "publishing/no-such-past": 500,
  "cache/unwritable": 500,
  "publishing/publish-incomplete": 500,
  "publishing/export-incomplete": 500,
  "publishing/no-write-cap": 500,
  "publishing/foreign-site": 500,
  "usage/wrong-arguments": 500,
  "configuration/invalid": 500,
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
  "verify/nothing": 500,
  "verify/site-unavailable": 500,
  "demo/failed": 500,
  "grid/failed": 500,
  "grid/install-failed": 500,
  "grid/tool-missing": 500,
  "start/no-grid": 500,
  unknown: 500,
} as const satisfies Record<ErrorCode, number>;

/** The codes that only an HttpError has. */
type HttpErrorCode = Extract<ErrorCode, `request/${string}`> | "server/not-ready" | "server/slow-source";

/** When a client should come back after a fault that may pass. @see RFC 9110 10.2.3 */
const retryAfterSeconds = 5;

/** A request that gets no answer of its own kind. The message is for people and goes into the reply. */
export class HttpError extends RepoError {
  readonly code: HttpErrorCode;
  readonly headers: { readonly [name: string]: string };
  constructor(code: HttpErrorCode, message: string, headers: { readonly [name: string]: string } = {}) {
    super(message);
    this.code = code;
    this.headers = headers;
  }
}

/** @param allow the methods that are answered, as the Allow field lists them */
export const methodNotAllowed = (method: string, allow: string): HttpError =>
  new HttpError("request/method", `${method} is not for this; allowed: ${allow}`, { Allow: allow });

/** What a failed request is answered with. */
export interface Problem {
  readonly status: number;
  readonly code: ErrorCode;
  readonly body: string;
  readonly headers: { readonly [name: string]: string };
}

/** Translates anything thrown. The text of an error that we do not know stays inside. */
export function problemOf(thrown: unknown): Problem {
  const status = statuses[codeOf(thrown)];
  const isExpected = status !== 500;
  const code = isExpected ? codeOf(thrown) : "server/internal";
  const text = isExpected ? forStrangers(messageOf(thrown)) : "this should not have happened; the log says more";
  return {
    status,
    code,
    body: `${status} ${code}: ${text}\n`,
    headers: {
      // An error is about this moment: no cache may keep a 404 for what the next publication holds.
      "Cache-Control": "no-store",
      ...(status >= 500 ? { "Retry-After": String(retryAfterSeconds) } : {}),
      ...(thrown instanceof HttpError ? thrown.headers : {}),
    },
  };
}

/** Sends a problem, or, where a reply has begun already, cuts it so that nobody takes it for whole. */
export function sendProblem(response: ServerResponse, problem: Problem): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  for (const name of response.getHeaderNames()) response.removeHeader(name);
  const body = Buffer.from(problem.body);
  response.writeHead(problem.status, {
    "Content-Type": "text/plain; charset=utf-8",
    "Content-Length": body.length,
    "X-Content-Type-Options": "nosniff",
    ...problem.headers,
  });
  response.end(response.req.method === "HEAD" ? undefined : body);
}

/** A second net below the rule that no message holds a cap: blanks whatever looks like one. */
export const withoutCaps = (text: string): string => text.replace(/(URI|pb)(:|%3A)[^\s"'<>)\]}]+/gi, "$1:…");

/** What is logged of a fault that nobody foresaw: its stack where there is one, without caps. */
export const traceOf = (thrown: unknown): string =>
  withoutCaps((thrown instanceof Error ? thrown.stack : undefined) ?? messageOf(thrown));

/** As much of a message as may be shown to anybody: where our gateways are is not theirs to know. */
export const forStrangers = (text: string): string =>
  withoutCaps(text).replace(/\bhttps?:\/\/(?:\[[^\]\s]*\])?[^\s"'<>()[\]{};]*/gi, "the gateway");
