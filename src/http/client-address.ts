// Whom a request comes from: the address that limits and passwords are counted by.
import type { IncomingMessage } from "node:http";

/**
 * The client's address: what a trusted proxy says, else the other end of the connection.
 * @param behindProxy whether every connection comes from a proxy of ours, which adds the client to X-Forwarded-For
 * @returns an address as `networkOf` gives it
 */
export function clientAddress({ headers, socket }: IncomingMessage, behindProxy: boolean): string {
  const forwarded = headers["x-forwarded-for"];
  const last = behindProxy
    ? String(forwarded ?? "")
        .split(",")
        .at(-1)
        ?.trim()
    : undefined;
  return networkOf(last || (socket.remoteAddress ?? ""));
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
