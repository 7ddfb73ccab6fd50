// The id of a request: in each log line about it, and in the header X-Request-Id of its response.
import { randomBytes } from "node:crypto";
import type { IncomingMessage } from "node:http";

/** Distinguishes the ids of this process from those of others. */
const prefix = `${randomBytes(5).toString("hex")}-`;
let count = 0;

/** The ids that proxies send, such as UUIDs and those of nginx, Traefik and AWS. */
const sane = /^[\w.:=+/@-]{1,128}$/;

/** Returns an id that no other request has. */
export function newRequestId(): string {
  count += 1;
  return prefix + count;
}

/** Returns the id that a trusted proxy gave a request, or a new one. */
export function requestIdOf({ headers }: IncomingMessage, behindProxy: boolean): string {
  const given = behindProxy ? headers["x-request-id"] : undefined;
  return typeof given === "string" && sane.test(given) ? given : newRequestId();
}
