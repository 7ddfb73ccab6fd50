// Reads and writes the node's files: its ports, the client's list of storage servers, its aliases.
import { randomInt } from "node:crypto";
import { promises as fs } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { replaceFile } from "../../base/replace-file.ts";
import type { Secret } from "../../base/secret.ts";

const privateMode = { mode: 0o600 };

/** TCP ports on the loopback interface. */
export interface Ports {
  readonly web: number;
  readonly storage: number;
}

/** Arguments for `tahoe create-node`: use only the loopback interface, and require only one storage server. */
export const createArguments = (ports: Ports): readonly string[] => [
  `--webport=${endpoint(ports.web)}`,
  `--port=${endpoint(ports.storage)}`,
  `--location=${location(ports.storage)}`,
  "--nickname=tahoe-apt",
  "--shares-needed=1",
  "--shares-happy=1",
  "--shares-total=1",
];

const endpoint = (port: number): string => `tcp:${port}:interface=127.0.0.1`;
const location = (port: number): string => `tcp:127.0.0.1:${port}`;

/** The ports in a node's configuration; undefined if there is none yet. */
export async function readPorts(node: string): Promise<Ports | undefined> {
  const text = await fs.readFile(join(node, "tahoe.cfg"), "utf8").catch(() => undefined);
  const web = /^web\.port = tcp:(\d+):/m.exec(text ?? "")?.[1];
  const storage = /^tub\.port = tcp:(\d+):/m.exec(text ?? "")?.[1];
  return web === undefined || storage === undefined ? undefined : { web: Number(web), storage: Number(storage) };
}

export async function writePorts(node: string, ports: Ports): Promise<void> {
  const file = join(node, "tahoe.cfg");
  const text = (await fs.readFile(file, "utf8"))
    .replace(/^web\.port = .*/m, `web.port = ${endpoint(ports.web)}`)
    .replace(/^tub\.port = .*/m, `tub.port = ${endpoint(ports.storage)}`)
    .replace(/^tub\.location = .*/m, `tub.location = ${location(ports.storage)}`);
  await replaceFile(file, text, privateMode);
}

/**
 * Linux assigns ports from 32,768 on by itself, also to connections: seconds pass until the node listens, in which one of
 * these may be taken.
 */
const portsBelowTheSystems = [10_000, 32_000] as const;
const maxPortAttempts = 20;

/** Finds two different free ports, which another process may still take. */
export async function freePorts(): Promise<Ports> {
  const [web, storage] = await Promise.all([listenBelowTheSystems(), listenBelowTheSystems()]);
  await Promise.all([web?.close(), storage?.close()]);
  return { web: web?.port ?? 0, storage: storage?.port ?? 0 };
}

async function listenBelowTheSystems(): ReturnType<typeof listen> {
  for (let attempt = 1; attempt <= maxPortAttempts; attempt++) {
    const server = await listen(randomInt(...portsBelowTheSystems));
    if (server !== undefined) return server;
  }
  return await listen(0);
}

export async function areFree(ports: Ports): Promise<boolean> {
  const servers = await Promise.all([listen(ports.web), listen(ports.storage)]);
  await Promise.all(servers.map(async (server) => server?.close()));
  return servers.every((server) => server !== undefined);
}

/** @param preferred 0 for any port @returns a port that was free just now; undefined if the preferred one is in use */
export async function freePort(preferred: number): Promise<number | undefined> {
  const server = await listen(preferred);
  await server?.close();
  return server?.port;
}

function listen(port: number): Promise<{ port: number; close: () => Promise<void> } | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(undefined));
    server.listen({ port, host: "127.0.0.1" }, () => {
      const address = server.address();
      resolve({
        port: typeof address === "object" && address !== null ? address.port : port,
        close: () => new Promise((closed) => void server.close(() => closed())),
      });
    });
  });
}

/**
 * Configures the node as its own only storage server, so that the grid needs no introducer.
 * @returns false if the node has never run and so has no storage server yet
 * @see Tahoe-LAFS, docs/configuration.rst, "Static Server Definitions"
 */
export async function writeServers(node: string, ports: Ports): Promise<boolean> {
  const [furl, key] = await Promise.all(
    [join(node, "private", "storage.furl"), join(node, "node.pubkey")].map((file) =>
      fs.readFile(file, "utf8").catch(() => ""),
    ),
  );
  const [, tub, number] = /^pb:\/\/([a-z2-7]+)@[^/]*\/([a-z2-7]+)\s*$/.exec(furl ?? "") ?? [];
  const server = /^pub-(v0-[a-z2-7]+)\s*$/.exec(key ?? "")?.[1];
  if (tub === undefined || number === undefined || server === undefined) return false;
  const text = [
    "storage:",
    `  ${server}:`,
    "    ann:",
    "      nickname: tahoe-apt",
    `      anonymous-storage-FURL: pb://${tub}@${location(ports.storage)}/${number}`,
    "",
  ].join("\n");
  await replaceFile(join(node, "private", "servers.yaml"), text, privateMode);
  return true;
}

/** Adds an alias for a directory, so that `tahoe put FILE NAME:PATH` has no cap in its arguments. */
export async function writeAlias(node: string, name: string, cap: Secret): Promise<void> {
  const file = join(node, "private", "aliases");
  const others = (await fs.readFile(file, "utf8").catch(() => ""))
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith(`${name}:`));
  await replaceFile(file, `${[...others, `${name}: ${cap.reveal()}`].join("\n")}\n`, privateMode);
}
