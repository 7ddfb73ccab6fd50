// How to reach Valkey: the addresses as operators write them.
import type { Secret } from "../base/secret.ts";

/** How to reach Valkey. */
export interface ValkeySettings {
  /** One server, the Sentinels, or some nodes of a Redis Cluster: `redis://HOST:PORT/DATABASE`, `rediss://` with TLS, `redis+unix:///PATH`. */
  readonly urls: readonly string[];
  readonly mode: "single" | "sentinel" | "cluster";
  /** The name under which the Sentinels know the primary. */
  readonly sentinelMaster: string;
  readonly password: Secret | undefined;
  /** Additional trusted certificates, in PEM. */
  readonly ca: string | undefined;
  /** The name of the fleet. All its keys begin with it, so that several fleets can share one Valkey. */
  readonly name: string;
}

/** An address in the form of ioredis. */
interface ValkeyAddress {
  readonly host: string;
  readonly port: number;
  readonly path?: string;
  readonly db?: number;
  readonly username?: string;
}

const defaultPort = 6379;
const protocols = new Set(["redis:", "rediss:", "valkey:", "valkeys:", "redis+unix:"]);

/** Checks the address of a Valkey server. @throws Error that does not quote it, because it may contain a password */
export function parseValkeyUrl(raw: string): string {
  const url = URL.canParse(raw) ? new URL(raw) : undefined;
  if (url === undefined || !protocols.has(url.protocol))
    throw new Error("is not of the form redis://HOST:PORT, rediss://HOST:PORT (with TLS) or redis+unix:///PATH");
  if (url.password !== "") throw new Error("contains a password; write it into a file and name that in password_file");
  return raw;
}

/** @param raw an address that `parseValkeyUrl` accepts */
export function addressOf(raw: string): ValkeyAddress {
  const url = new URL(raw);
  const { hostname, port, pathname, username } = url;
  if (url.protocol === "redis+unix:") return { host: "", port: 0, path: decodeURIComponent(pathname) };
  const db = Number(pathname.slice(1));
  return {
    host: hostname.replace(/^\[(.*)\]$/, "$1"),
    port: port === "" ? defaultPort : Number(port),
    ...(db > 0 && { db }),
    ...(username !== "" && { username: decodeURIComponent(username) }),
  };
}
