// Sends one event to one receiver, once.
import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { messageOf } from "../../base/errors.ts";
import { ownVersion } from "../../base/own-version.ts";
import { signatureHeaders } from "./signature.ts";
import type { Webhook } from "./webhook.ts";

/** `gone`: the receiver wants no events any more. The reason contains no part of the URL but its host. */
export type Delivery =
  | { readonly kind: "delivered" }
  | { readonly kind: "gone" }
  | { readonly kind: "failed"; readonly reason: string };

/** An event, as it is sent and kept. */
export interface WebhookEvent {
  /** The same in each attempt, so that a receiver can tell that it has it already. */
  readonly id: string;
  /** The public name of the suite. */
  readonly suite: string;
  readonly createdMs: number;
  /** JSON. */
  readonly body: string;
}

/**
 * Posts an event. Redirects are not followed: the operator has chosen the URL, and whoever answers there must not choose
 * another one in the server's network.
 * @param signal aborts the request, which then counts as failed
 */
export async function deliver(
  { id, body }: WebhookEvent,
  { url, secrets, timeoutSeconds }: Webhook,
  { nowMs, signal }: { readonly nowMs: number; readonly signal: AbortSignal },
): Promise<Delivery> {
  const tooLong = AbortSignal.timeout(timeoutSeconds * 1000);
  try {
    const status = await post(url.reveal(), body, {
      headers: {
        "Content-Type": "application/json",
        "Content-Length": String(Buffer.byteLength(body)),
        "User-Agent": `tahoe-apt/${ownVersion()}`,
        ...signatureHeaders({ id, sentSeconds: Math.floor(nowMs / 1000), body }, secrets),
      },
      signal: AbortSignal.any([signal, tooLong]),
    });
    if (status >= 200 && status < 300) return { kind: "delivered" };
    if (status === 410) return { kind: "gone" };
    const isRedirect = status >= 300 && status < 400;
    return { kind: "failed", reason: `status ${status}${isRedirect ? ", and redirects are not followed" : ""}` };
  } catch (thrown) {
    if (tooLong.aborted) return { kind: "failed", reason: `no response within ${timeoutSeconds} s` };
    return { kind: "failed", reason: messageOf(thrown) };
  }
}

interface PostOptions {
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

/** @returns the status of the response, whose body is not read */
function post(url: string, body: string, options: PostOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    const start = url.startsWith("https:") ? requestHttps : requestHttp;
    // A connection of its own: one that was kept open may have been closed by the receiver.
    const sent = start(url, { method: "POST", agent: false, ...options }, (response) => {
      response.on("error", () => undefined);
      response.destroy();
      resolve(response.statusCode ?? 0);
    });
    sent.on("error", reject);
    sent.end(body);
  });
}
