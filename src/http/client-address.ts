// Whom a request comes from: the address that limits and passwords are counted by.
import type { IncomingMessage } from "node:http";

/**
 * The client's address: what a trusted proxy says, else the other end of the connection.
 * @param behindProxy whether every connection comes from a proxy of ours, which adds the client to X-Forwarded-For
 * @returns an address as `networkOf` gives it
 */
export function clientAddress({ headers, socket }: IncomingMessage, behindProxy: boolean): string {
  const forwarded = behindProxy ? lastForwarded(headers) : "";
  return networkOf(forwarded || (socket.remoteAddress ?? ""));
}

/** The address that the proxy next to us has seen: what stands before it is the client's own word. "" where there is none */
export function lastForwarded(headers: IncomingMessage["headers"]): string {
  const forwarded = String(headers["x-forwarded-for"] ?? "");
  return forwarded.slice(forwarded.lastIndexOf(",") + 1).trim();
}

/** An IPv4 address as it stands; of an IPv6 address the first 64 bits, since who has one has all of them. */
export function networkOf(address: string): string {
  const [, v4] = /^(?:::ffff:)?(\d+(?:\.\d+){3})$/i.exec(address) ?? [];
  if (v4 !== undefined) return v4;
  const [head = "", tail] = address.toLowerCase().split("::", 2);
  const groups = head.split(":");
  if (tail !== undefined) groups.push("0", "0", "0", "0");
  return groups.slice(0, 4).join(":");
}
