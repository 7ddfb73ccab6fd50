// The one place where an error becomes a status: by its stable code, with a text that is never empty and holds no cap.
import type { ServerResponse } from "node:http";
import { messageOf, RepoError } from "../base/errors.ts";

/** Statuses by error code. What is not here is our own fault, a 500. Only what is absent is 404: apt takes it as final. */
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
} as const;

type KnownCode = keyof typeof statuses;
type RefusalCode = Extract<KnownCode, `request/${string}` | `server/${string}`>;

/** When a client should come back after a fault that may pass. @see RFC 9110 10.2.3 */
const retryAfterSeconds = 5;

/** A request that gets no answer of its own kind. The message is for people and goes into the reply. */
export class HttpError extends RepoError {
  readonly code: RefusalCode;
  readonly headers: { readonly [name: string]: string };
  constructor(code: RefusalCode, message: string, headers: { readonly [name: string]: string } = {}) {
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
  readonly code: string;
  readonly body: string;
  readonly headers: { readonly [name: string]: string };
}

/** Translates anything thrown. The text of an error that we do not know stays inside. */
export function problemOf(thrown: unknown): Problem {
  const known = thrown instanceof RepoError && isKnown(thrown.code);
  const code = known ? thrown.code : "server/internal";
  const status = known && isKnown(thrown.code) ? statuses[thrown.code] : 500;
  const text = known ? forStrangers(messageOf(thrown)) : "this should not have happened; the log says more";
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

const isKnown = (code: string): code is KnownCode => Object.hasOwn(statuses, code);
