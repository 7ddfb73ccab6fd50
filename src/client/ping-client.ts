// The client side of a ping: describes a token, and pings until a change is live.

import { z } from "zod";
import { sleep } from "../base/abort.ts";
import type { BackoffLimits } from "../base/backoff.ts";
import { backoffMs } from "../base/backoff.ts";
import { messageOf, RepoError, systemCodeOf } from "../base/errors.ts";
import type { TreePath } from "../base/names.ts";
import { pathNames } from "../base/names.ts";
import { readAtMost } from "../base/read-at-most.ts";
import { isUntrusted } from "../storage/tahoe/certificates.ts";
import type { Bundle, PingAddress } from "./bundle.ts";

/** The server rejects the ping and will not accept it later: the token is unknown, or valid for another directory. */
class PingRefused extends RepoError {
  readonly code = "builder/ping-refused";
}

/** The server does not know the bundle's token. The bundle's directories may no longer be in the tree. */
export class TokenUnknown extends PingRefused {
  constructor(url: string) {
    super(
      `${url} does not know this bundle's token: the builder was revoked, got a newer bundle, or is missing from the server's builders_file`,
    );
  }
}

/** The response to a ping when the change is served. */
export type PingResult = z.infer<typeof pingResultSchema>;

const pingResultSchema = z.object({
  status: z.literal("servable"),
  publications: z.array(z.object({ suite: z.string(), id: z.string(), rolledBackTo: z.string().optional() })),
  added: z.array(z.string()),
  removed: z.array(z.string()),
  rejected: z.array(z.object({ path: z.string(), code: z.string(), reason: z.string() })),
  /** Absent in responses of earlier server versions. */
  pending: z.array(z.object({ path: z.string() })).optional(),
});

/** The server's description of a token. */
export type TokenDescription = z.infer<typeof descriptionSchema>;

const descriptionSchema = z.object({
  repository: z.string(),
  directories: z.array(z.string()),
  suites: z.array(z.object({ suite: z.string(), codename: z.string().optional() })),
  /** All that the server knows, even if not yet served. Absent in responses of earlier server versions. */
  suitesWithSlash: z.array(z.string()).optional(),
});

/** Called with the server's URL and the reason for waiting; called again only when the reason changes. */
export type WaitingObserver = (url: string, reason: string) => void;

/** How long the server may hold one request. Proxies close connections that are silent for longer. */
const requestWaitSeconds = 30;
const responseMarginMs = 15_000;
const descriptionTimeoutMs = 10_000;
const backoffLimits: BackoffLimits = { firstDelayMs: 500, maxDelayMs: 10_000 };
const maxResponseBytes = 64 * 1024 * 1024;

/**
 * Requests the description of a token: its repository, directories and suites.
 * @returns undefined if the server does not respond in time, or is too old to describe tokens
 * @throws TokenUnknown; signal.reason
 */
export async function describeToken(
  { url, token }: PingAddress,
  waiting: WaitingObserver,
  signal: AbortSignal,
): Promise<TokenDescription | undefined> {
  const response = await send("GET", url, token.reveal(), descriptionTimeoutMs, signal);
  if (typeof response === "string") waiting(url, response);
  else if (response.status === 401) throw new TokenUnknown(url);
  else if (response.status === 200) return parsed(descriptionSchema, response.text);
  return undefined;
}

/**
 * Rejects a revoked bundle. Its caps still give access to directories, but these may no longer be in the tree, so each
 * command calls this before it reports anything about the tree. A bundle without ping settings is not checked.
 * @returns the description of the token, if the server responds
 * @throws TokenUnknown; signal.reason
 */
export async function rejectRevokedBundle(
  { ping }: Bundle,
  waiting: WaitingObserver,
  signal: AbortSignal,
): Promise<TokenDescription | undefined> {
  return ping && (await describeToken(ping, waiting, signal));
}

/**
 * Pings until the change at the path is served; repeats the request if the server is unreachable or busy.
 * @param timeoutMs how long to try, in ms; sends at least one request
 * @returns the result; or, if the change was not served in time, the reason
 * @throws PingRefused; signal.reason
 */
export async function pingUntilLive(
  { url, token }: PingAddress,
  path: TreePath,
  {
    timeoutMs,
    waiting,
    signal,
  }: { readonly timeoutMs: number; readonly waiting: WaitingObserver; readonly signal: AbortSignal },
): Promise<PingResult | { readonly notLive: string }> {
  const target = [url, ...pathNames(path).map(encodeURIComponent)].join("/");
  const deadlineMs = Date.now() + timeoutMs;
  let reportedReason: string | undefined;
  for (let attempt = 1; ; attempt++) {
    const delayMs = backoffMs(attempt, backoffLimits);
    const leftSeconds = Math.max(1, Math.ceil((deadlineMs - Date.now()) / 1000));
    const waitSeconds = Math.min(requestWaitSeconds, leftSeconds);
    const requestTimeoutMs = waitSeconds * 1000 + responseMarginMs;
    const response = await send("POST", `${target}?wait=${waitSeconds}`, token.reveal(), requestTimeoutMs, signal);
    if (typeof response !== "string") {
      if (response.status === 200) return parsed(pingResultSchema, response.text);
      if (response.status === 401) throw new TokenUnknown(url);
      if (isPermanent(response.status)) throw new PingRefused(`${url} answered the ping with ${summaryOf(response)}`);
    }
    const reason =
      typeof response === "string" ? response : response.status === 202 ? "still in progress" : summaryOf(response);
    if (reason !== reportedReason) waiting(url, reason);
    reportedReason = reason;
    if (Date.now() + delayMs >= deadlineMs) return { notLive: `${url}: ${reason}` };
    // Before a 202 the server has waited already.
    if (typeof response === "string") await sleep(delayMs, signal);
    else if (response.status !== 202) await sleep(Math.max(delayMs, response.retryAfterMs), signal);
  }
}

const isPermanent = (status: number): boolean => status !== 202 && status !== 429 && status < 500;

const summaryOf = ({ status, text }: PingResponse): string => `status ${status}: ${text.slice(0, 200).trim()}`;

interface PingResponse {
  readonly status: number;
  readonly text: string;
  readonly retryAfterMs: number;
}

/** @returns the response, or the reason why there is none */
async function send(
  method: "GET" | "POST",
  target: string,
  token: string,
  requestTimeoutMs: number,
  signal: AbortSignal,
): Promise<PingResponse | string> {
  const timeout = AbortSignal.timeout(requestTimeoutMs);
  try {
    const response = await fetch(target, {
      method,
      headers: { Authorization: `Bearer ${token}` },
      // Following a redirect would send the token to another server.
      redirect: "manual",
      signal: AbortSignal.any([signal, timeout]),
    });
    const seconds = Number(response.headers.get("retry-after") ?? 0);
    return {
      status: response.status,
      text: (response.body && (await readAtMost(response.body, maxResponseBytes))?.toString()) ?? "",
      retryAfterMs: Number.isFinite(seconds) ? seconds * 1000 : 0,
    };
  } catch (thrown) {
    signal.throwIfAborted();
    if (timeout.aborted) return `no response within ${requestTimeoutMs / 1000} s`;
    return reasonOf(thrown instanceof Error ? (thrown.cause ?? thrown) : thrown);
  }
}

/** fetch wraps the system error in its own. */
function reasonOf(cause: unknown): string {
  const reasons = new Map([
    ["ECONNREFUSED", "connection refused"],
    ["ENOTFOUND", "unknown host"],
    ["EAI_AGAIN", "temporary failure in name resolution"],
    ["ECONNRESET", "connection reset"],
    ["EHOSTUNREACH", "host unreachable"],
    ["ETIMEDOUT", "connection timed out"],
    ["UND_ERR_CONNECT_TIMEOUT", "connection timed out"],
  ]);
  const code = systemCodeOf(cause);
  if (isUntrusted(code)) {
    return `its certificate is not trusted (${code}): set NODE_EXTRA_CA_CERTS to a file with the certificate of its authority`;
  }
  return reasons.get(code ?? "") ?? code ?? messageOf(cause);
}

function parsed<Value>(schema: z.ZodType<Value>, text: string): Value {
  try {
    return schema.parse(JSON.parse(text));
  } catch {
    throw new PingRefused("the server sent an invalid ping response: does ping_url in the bundle lead to tahoe-apt?");
  }
}
