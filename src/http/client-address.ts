// The client address of a request, by which limits and failed logins are counted.
import type { IncomingMessage } from "node:http";

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
export function lastForwarded(headers: IncomingMessage["headers"]): string {
  const forwarded = String(headers["x-forwarded-for"] ?? "");
  return forwarded.slice(forwarded.lastIndexOf(",") + 1).trim();
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
