// Tells the server that something changed, and waits until it is servable.

import { z } from "zod";
import { sleep } from "../base/abort.ts";
import { messageOf, RepoError } from "../base/errors.ts";
import type { TreePath } from "../base/names.ts";
import { pathNames } from "../base/names.ts";
import type { PingAddress } from "./bundle.ts";

/** The server will not have this ping, now or ever: a wrong token, another directory. */
class PingRefused extends RepoError {
  readonly code = "builder/ping-refused";
}

/** What the server answered when the change was servable. */
export type PingAnswer = z.infer<typeof answer>;

const answer = z.object({
  status: z.literal("servable"),
  publications: z.array(z.object({ suite: z.string(), id: z.string(), rolledBackTo: z.string().optional() })),
  added: z.array(z.string()),
  removed: z.array(z.string()),
  rejected: z.array(z.object({ path: z.string(), code: z.string(), reason: z.string() })),
});

/** How long one request waits; then the next one does. Proxies cut longer silences. */
const requestWaitSeconds = 30;
const replyMarginMs = 15_000;
const firstDelayMs = 500;
const maxDelayMs = 10_000;
const maxAnswerCharacters = 64 * 1024 * 1024;

/**
 * Pings until what is at the path is servable; a server that is away or busy is asked again.
 * @param patienceMs how long to go on; at least one request is made
 * @returns undefined when it was not servable by then
 * @throws PingRefused; signal.reason
 */
export async function pingUntilLive(
  { url, token }: PingAddress,
  path: TreePath,
  patienceMs: number,
  signal: AbortSignal,
): Promise<PingAnswer | undefined> {
  const target = [url, ...pathNames(path).map(encodeURIComponent)].join("/");
  const deadlineMs = Date.now() + patienceMs;
  for (let delayMs = firstDelayMs; ; delayMs = Math.min(maxDelayMs, delayMs * 2)) {
    const leftSeconds = Math.max(1, Math.ceil((deadlineMs - Date.now()) / 1000));
    const waitSeconds = Math.min(requestWaitSeconds, leftSeconds);
    const reply = await ask(
      `${target}?wait=${waitSeconds}`,
      token.reveal(),
      waitSeconds * 1000 + replyMarginMs,
      signal,
    );
    if (reply?.status === 200) return understood(reply.text);
    if (reply !== undefined && reply.status !== 202 && reply.status !== 429 && reply.status < 500) {
      const hint = reply.status === 401 ? " (the server's builders_file does not name this builder's token)" : "";
      throw new PingRefused(
        `the tree is changed, but the ping was answered with ${reply.status}: ${reply.text.slice(0, 200).trim()}${hint}`,
      );
    }
    if (Date.now() + delayMs >= deadlineMs) return undefined;
    // After 202 the server has waited itself.
    if (reply?.status !== 202) await sleep(Math.max(delayMs, reply?.retryAfterMs ?? 0), signal);
  }
}

interface Reply {
  readonly status: number;
  readonly text: string;
  readonly retryAfterMs: number;
}

/** @returns undefined when no answer came */
async function ask(target: string, token: string, timeoutMs: number, signal: AbortSignal): Promise<Reply | undefined> {
  try {
    const reply = await fetch(target, {
      method: "POST",
      headers: { Authorization: `Bearer ${token}` },
      // A redirect would carry the token elsewhere.
      redirect: "manual",
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
    });
    const seconds = Number(reply.headers.get("retry-after") ?? 0);
    return {
      status: reply.status,
      text: (await reply.text()).slice(0, maxAnswerCharacters),
      retryAfterMs: Number.isFinite(seconds) ? seconds * 1000 : 0,
    };
  } catch {
    signal.throwIfAborted();
    return undefined;
  }
}

function understood(text: string): PingAnswer {
  try {
    return answer.parse(JSON.parse(text));
  } catch (thrown) {
    throw new PingRefused(`the answer is no ping's: ${messageOf(thrown)}`);
  }
}
