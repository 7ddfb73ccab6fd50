// How the addresses of this server are shown.
import { hostname } from "node:os";
import { isLoopback } from "../config/config-values.ts";
import type { Address } from "../http/server.ts";

const isEverywhere = ({ host }: Address): boolean => host === "0.0.0.0" || host === "::";

export const authorityOf = ({ host, port }: Address): string => `${host.includes(":") ? `[${host}]` : host}:${port}`;

/** The address by which people tell this server from others: preferably one that other machines reach. */
export function addressForOthers(addresses: readonly Address[]): string {
  const address = addresses.find(({ host }) => !isLoopback(host)) ?? addresses[0];
  if (address === undefined) return hostname();
  return authorityOf(isEverywhere(address) ? { ...address, host: hostname() } : address);
}

/** A URL for programs on this machine. Nothing can connect to an address that means every interface. */
export const urlOf = (address: Address): string =>
  `http://${authorityOf(isEverywhere(address) ? { ...address, host: "localhost" } : address)}`;
