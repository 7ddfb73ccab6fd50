// How the addresses of this server are shown.
import { hostname } from "node:os";
import { isLoopback } from "../config/config-values.ts";
import type { Address } from "../http/server.ts";

export const authorityOf = ({ host, port }: Address): string => `${host.includes(":") ? `[${host}]` : host}:${port}`;

/** The address by which people tell this server from others: preferably one that other machines reach. */
export function addressForOthers(addresses: readonly Address[]): string {
  const address = addresses.find(({ host }) => !isLoopback(host)) ?? addresses[0];
  if (address === undefined) return hostname();
  const isEverywhere = address.host === "0.0.0.0" || address.host === "::";
  return authorityOf(isEverywhere ? { ...address, host: hostname() } : address);
}
