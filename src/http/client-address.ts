// The address of a client, by which limits and failed logins are counted, and the scheme of its URL. A trusted proxy
// gives both.
import type { IncomingMessage } from "node:http";
import { HttpError } from "./error-responses.ts";

/**
 * The client's address: from a trusted proxy's header, else the peer address of the connection.
 * @param behindProxy whether every connection comes from a trusted proxy that appends the client to X-Forwarded-For
 * @returns an address as `networkOf` returns it
 */
export function clientAddress({ headers, socket }: IncomingMessage, behindProxy: boolean): string {
  const forwarded = behindProxy ? lastForwarded(headers) : "";
  return networkOf(forwarded || (socket.remoteAddress ?? ""));
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
