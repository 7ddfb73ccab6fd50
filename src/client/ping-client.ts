// What a builder asks the server: what its token opens, and, after a change, to look again until APT sees it.

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

/** The server refuses for good: it does not know the token, or the token is for another directory. */
class PingRefused extends RepoError {
  readonly code = "builder/ping-refused";
}

/** The server does not know the bundle's token: what the bundle opens may no longer be in the tree. */
export class TokenUnknown extends PingRefused {
  constructor(url: string) {
    super(
      `${url} does not know this bundle's token: the builder was revoked, got a newer bundle, or is missing in the server's builders_file`,
    );
  }
}

/** What the server answered when the change was servable. */
export type PingAnswer = z.infer<typeof answer>;

const answer = z.object({
  status: z.literal("servable"),
  publications: z.array(z.object({ suite: z.string(), id: z.string(), rolledBackTo: z.string().optional() })),
  added: z.array(z.string()),
  removed: z.array(z.string()),
  rejected: z.array(z.object({ path: z.string(), code: z.string(), reason: z.string() })),
  /** Servers of earlier versions do not tell. */
  pending: z.array(z.object({ path: z.string() })).optional(),
});

/** What the server says of a token. */
export type TokenDescription = z.infer<typeof description>;

const description = z.object({
  repository: z.string(),
  directories: z.array(z.string()),
  suites: z.array(z.object({ suite: z.string(), codename: z.string().optional() })),
  /** All that the server knows, also before it serves them; servers of earlier versions do not tell. */
  suitesWithSlash: z.array(z.string()).optional(),
});

/** Told that the server is waited for: where it is, and why. Called again only when the reason changes. */
export type WaitingObserver = (url: string, reason: string) => void;

/** How long one request waits; then the next one does. Proxies cut longer silences. */
const requestWaitSeconds = 30;
const replyMarginMs = 15_000;
const descriptionTimeoutMs = 10_000;
const backoffLimits: BackoffLimits = { firstDelayMs: 500, maxDelayMs: 10_000 };
const maxAnswerBytes = 64 * 1024 * 1024;

/**
 * Asks what the token opens.
 * @returns undefined where the server can't be reached in time, or is of a version that does not tell
 * @throws TokenUnknown; signal.reason
 */
export async function describeToken(
  { url, token }: PingAddress,
  waiting: WaitingObserver,
  signal: AbortSignal,
): Promise<TokenDescription | undefined> {
  const reply = await ask("GET", url, token.reveal(), descriptionTimeoutMs, signal);
  if (typeof reply === "string") waiting(url, reply);
  else if (reply.status === 401) throw new TokenUnknown(url);
  else if (reply.status === 200) return parsed(description, reply.text);
  return undefined;
}

/**
 * Refuses a bundle that was revoked. Its caps still open directories, but these may no longer be in the tree, so each
 * command calls this before it says anything about the tree. A bundle without a ping passes: nobody can be asked.
 * @returns what the server says of its token, where it answers
 * @throws TokenUnknown; signal.reason
 */
export async function refuseRevoked(
  { ping }: Bundle,
  waiting: WaitingObserver,
  signal: AbortSignal,
): Promise<TokenDescription | undefined> {
  return ping && (await describeToken(ping, waiting, signal));
}

/**
 * Pings until what is at the path is servable; a server that is away or busy is asked again.
 * @param patienceMs how long to go on; at least one request is made
 * @returns the answer; or, when it was not servable in time, why
 * @throws PingRefused; signal.reason
 */
export async function pingUntilLive(
  { url, token }: PingAddress,
  path: TreePath,
  {
    patienceMs,
    waiting,
    signal,
  }: { readonly patienceMs: number; readonly waiting: WaitingObserver; readonly signal: AbortSignal },
): Promise<PingAnswer | { readonly notLive: string }> {
  const target = [url, ...pathNames(path).map(encodeURIComponent)].join("/");
  const deadlineMs = Date.now() + patienceMs;
  let told: string | undefined;
  for (let attempt = 1; ; attempt++) {
    const delayMs = backoffMs(attempt, backoffLimits);
    const leftSeconds = Math.max(1, Math.ceil((deadlineMs - Date.now()) / 1000));
    const waitSeconds = Math.min(requestWaitSeconds, leftSeconds);
    const timeoutMs = waitSeconds * 1000 + replyMarginMs;
    const reply = await ask("POST", `${target}?wait=${waitSeconds}`, token.reveal(), timeoutMs, signal);
    if (typeof reply !== "string") {
      if (reply.status === 200) return parsed(answer, reply.text);
      if (reply.status === 401) throw new TokenUnknown(url);
      if (isFinal(reply.status)) throw new PingRefused(`${url} answered the ping with ${inShort(reply)}`);
    }
    const reason = typeof reply === "string" ? reply : reply.status === 202 ? "still at work" : inShort(reply);
    if (reason !== told) waiting(url, reason);
    told = reason;
    if (Date.now() + delayMs >= deadlineMs) return { notLive: `${url}: ${reason}` };
    // After 202 the server has waited itself.
    if (typeof reply === "string") await sleep(delayMs, signal);
    else if (reply.status !== 202) await sleep(Math.max(delayMs, reply.retryAfterMs), signal);
  }
}

const isFinal = (status: number): boolean => status !== 202 && status !== 429 && status < 500;

const inShort = ({ status, text }: Reply): string => `status ${status}: ${text.slice(0, 200).trim()}`;

interface Reply {
  readonly status: number;
  readonly text: string;
  readonly retryAfterMs: number;
}

/** @returns why no answer came, where none did */
async function ask(
  method: "GET" | "POST",
  target: string,
  token: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Reply | string> {
  const timeout = AbortSignal.timeout(timeoutMs);
  try {
    const reply = await fetch(target, {
      method,
      headers: { Authorization: `Bearer ${token}` },
      // A redirect would carry the token elsewhere.
      redirect: "manual",
      signal: AbortSignal.any([signal, timeout]),
    });
    const seconds = Number(reply.headers.get("retry-after") ?? 0);
    return {
      status: reply.status,
      text: (reply.body && (await readAtMost(reply.body, maxAnswerBytes))?.toString()) ?? "",
      retryAfterMs: Number.isFinite(seconds) ? seconds * 1000 : 0,
    };
  } catch (thrown) {
    signal.throwIfAborted();
    if (timeout.aborted) return `no answer within ${timeoutMs / 1000} s`;
    return reasonOf(thrown instanceof Error ? (thrown.cause ?? thrown) : thrown);
  }
}

/** fetch hides the system's error behind its own. */
function reasonOf(cause: unknown): string {
  const reasons = new Map([
    ["ECONNREFUSED", "connection refused"],
    ["ENOTFOUND", "unknown host"],
    ["EAI_AGAIN", "the host's name can't be looked up now"],
    ["ECONNRESET", "connection reset"],
    ["EHOSTUNREACH", "host unreachable"],
    ["ETIMEDOUT", "connection timed out"],
    ["UND_ERR_CONNECT_TIMEOUT", "connection timed out"],
  ]);
  const code = systemCodeOf(cause);
  if (isUntrusted(code)) {
    return `its certificate is not trusted (${code}): the environment's NODE_EXTRA_CA_CERTS may name a file with its authority's`;
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
