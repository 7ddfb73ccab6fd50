// The settings of a webhook, and the rules for its URL.
import { BlockList, isIP } from "node:net";
import { Secret } from "../../base/secret.ts";

export interface Webhook {
  /** It may contain a token. */
  readonly url: Secret;
  /** The keys of the signatures, in base64. A second one is there while the receiver changes to another. */
  readonly secrets: readonly Secret[];
  /** Patterns of the public names of suites; none: all suites. */
  readonly suites: readonly string[];
  /** How long the receiver may take for its response. */
  readonly timeoutSeconds: number;
}

/** Checks the URL of a webhook. @throws Error that does not quote it */
export function parseWebhookUrl(raw: string): Secret {
  const url = URL.canParse(raw) ? new URL(raw) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) throw new Error("is not an https:// or http:// URL");
  if (url.username !== "" || url.password !== "") {
    throw new Error("contains a name or a password; the receiver knows the server by the signature");
  }
  return new Secret(url.href);
}

/** The part of a webhook's URL that logs may show. */
export const originOf = (url: Secret): string => new URL(url.reveal()).origin;

const privateNetworks = new BlockList();
for (const [network, bits] of [
  ["10.0.0.0", 8],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.168.0.0", 16],
] as const) {
  privateNetworks.addSubnet(network, bits);
}
for (const [network, bits] of [
  ["::1", 128],
  ["fc00::", 7],
  ["fe80::", 10],
] as const) {
  privateNetworks.addSubnet(network, bits, "ipv6");
}

/**
 * Whether requests to a URL cannot be read on the way: they are encrypted, or stay on this machine or in a private
 * network. A host name other than localhost may be any address.
 */
export function isConfidential(url: Secret): boolean {
  const { protocol, hostname } = new URL(url.reveal());
  if (protocol === "https:" || hostname === "localhost") return true;
  const address = hostname.replace(/^\[|\]$/g, "");
  const family = isIP(address);
  return family !== 0 && privateNetworks.check(address, family === 6 ? "ipv6" : "ipv4");
}
