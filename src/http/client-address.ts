// The address of a client, by which limits and failed logins are counted, and the scheme of its URL. A trusted proxy
// gives both.
import type { IncomingMessage } from "node:http";
import { HttpError } from "./error-responses.ts";

/** The addresses of clients whose requests another process passes on. */
const peers = new WeakMap<IncomingMessage, string>();

/** Sets the address from which another process has received a request. */
export const setPeerAddress = (request: IncomingMessage, address: string): void => void peers.set(request, address);

/** Whether another process passes the request on: then requests of many clients share its connection. */
export const isPassedOn = (request: IncomingMessage): boolean => peers.has(request);

/** The address from which a request came; undefined if its connection is closed. */
export const peerAddress = (request: IncomingMessage): string | undefined =>
  peers.get(request) ?? request.socket.remoteAddress;

/**
 * The client's address: from a trusted proxy's header, else the peer address of the connection.
 * @param behindProxy whether every connection comes from a trusted proxy that appends the client to X-Forwarded-For
 * @returns an address as `networkOf` returns it
 */
export function clientAddress(request: IncomingMessage, behindProxy: boolean): string {
  const forwarded = behindProxy ? lastForwarded(request.headers) : "";
  return networkOf(forwarded || (peerAddress(request) ?? ""));
}

/** The last address in X-Forwarded-For, added by the nearest proxy: the client controls the others. "" if there is none. */
export const lastForwarded = (headers: IncomingMessage["headers"]): string => lastOf(headers["x-forwarded-for"]);

/**
 * The scheme with which the client reached the proxy, by the last value of X-Forwarded-Proto; `http` without the header.
 * @param behindProxy whether every connection comes from a trusted proxy; without one the header is ignored
 * @throws HttpError for another scheme: it would get into pages and .sources files
 */
export function clientScheme(headers: IncomingMessage["headers"], behindProxy: boolean): "http" | "https" {
  const scheme = behindProxy ? lastOf(headers["x-forwarded-proto"]).toLowerCase() : "";
  if (scheme === "" || scheme === "http") return "http";
  if (scheme === "https") return "https";
  throw new HttpError("request/malformed", "the X-Forwarded-Proto header is neither http nor https");
}

/** The last of the values that a header lists, separated by commas; "" if there is none. */
function lastOf(header: string | readonly string[] | undefined): string {
  const values = String(header ?? "");
  return values.slice(values.lastIndexOf(",") + 1).trim();
}

/** An IPv4 address unchanged; the first 64 bits of an IPv6 address, because a client usually has that whole network. */
export function networkOf(address: string): string {
  const [, v4] = /^(?:::ffff:)?(\d+(?:\.\d+){3})$/i.exec(address) ?? [];
  if (v4 !== undefined) return v4;
  const [head = "", tail] = address.toLowerCase().split("::", 2);
  const groups = head.split(":");
  if (tail !== undefined) groups.push("0", "0", "0", "0");
  return groups.slice(0, 4).join(":");
}
