// The connections that are open: bounded for each address and in all, so that no client can keep the others out.
import type { Socket } from "node:net";
import { LRUCache } from "lru-cache";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { networkOf } from "./client-address.ts";

export interface ConnectionLimits {
  /** Open at once, from all addresses. */
  readonly maxConnections: number;
  /** Open at once from one IPv4 address, or from one IPv6 network of 64 bits; not heeded behind a proxy of ours. */
  readonly maxConnectionsPerAddress: number;
  /** Requests that may wait for their turn on one connection; each takes some kilobytes. */
  readonly maxPipelinedRequests: number;
  /** From a request's first byte, or a connection's beginning, to the end of its header fields. */
  readonly headersTimeoutSeconds: number;
}

export const defaultConnectionLimits: ConnectionLimits = {
  maxConnections: 4096,
  maxConnectionsPerAddress: 256,
  maxPipelinedRequests: 256,
  headersTimeoutSeconds: 15,
};

/** Requests of one connection that are worked on at once, the others wait; apt sends ten before it reads a reply. */
const maxPipelined = 16;
/** Replies of one address that are made before the ones ahead of them on their connections are out. */
const maxAheadPerAddress = 256;
/** After a limit was hit, the log is told no sooner than after this of the next time. */
const quietMs = 10_000;
/**
 * An address that has sent too many requests at once is not heard for so long: to read them takes much longer than to send
 * them, and the others have to wait for it.
 */
const floodPenaltyMs = 10_000;

/** Addresses that are remembered so. */
const maxUnheard = 1000;

type Limit = "max_connections" | "max_connections_per_address" | "max_pipelined_requests" | "headers_timeout_seconds";

/** All connections from one address. */
interface Origin {
  readonly address: string;
  readonly connections: Set<Connection>;
  /** Without a request, the one that has been so for the longest time first. */
  readonly idle: Set<Connection>;
  /** Requests under way that are not the first of their connection. */
  ahead: number;
}

/** One connection, and what is under way on it. */
class Connection {
  readonly socket: Socket;
  readonly origin: Origin;
  underWay = 0;
  /** Requests that are not yet worked on, in their order. */
  readonly waiting: (() => void)[] = [];

  constructor(socket: Socket, origin: Origin) {
    this.socket = socket;
    this.origin = origin;
  }
}

/**
 * Where a limit is reached, a connection without a request gives its place to the new one: silent clients and those that
 * send their headers byte by byte keep nobody out, not even others at their own address. Only where every connection
 * has a request under way is the new one closed.
 */
export class Connections {
  readonly #limits: ConnectionLimits;
  readonly #perAddress: number;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #origins = new Map<string, Origin>();
  readonly #connections = new Map<Socket, Connection>();
  /** Of all addresses. */
  readonly #idle = new Set<Connection>();
  /** Addresses that are not heard, and until when. */
  readonly #unheard = new LRUCache<string, number>({ max: maxUnheard });
  readonly #hits = new Map<Limit, { loggedMs: number; untold: number }>();
  #isDraining = false;

  /** @param options.behindProxy whether all connections come from a proxy of ours, and so from one address */
  constructor(
    limits: ConnectionLimits,
    { behindProxy, log, clock }: { readonly behindProxy: boolean; readonly log: Log; readonly clock: Clock },
  ) {
    this.#limits = limits;
    this.#perAddress = behindProxy ? Number.POSITIVE_INFINITY : limits.maxConnectionsPerAddress;
    this.#log = log;
    this.#clock = clock;
  }

  /** Takes a new connection in, or closes it where there is no place for it. */
  add(socket: Socket): void {
    const address = networkOf(socket.remoteAddress ?? "");
    const origin = this.#origins.get(address) ?? { address, connections: new Set(), idle: new Set(), ahead: 0 };
    const { maxConnections } = this.#limits;
    const isPlaced =
      (this.#unheard.get(address) ?? 0) <= this.#clock() &&
      this.#makeRoom(origin.connections.size < this.#perAddress, origin.idle, "max_connections_per_address", address) &&
      this.#makeRoom(this.#connections.size < maxConnections, this.#idle, "max_connections", address);
    if (!isPlaced) {
      socket.destroy();
      return;
    }
    const connection = new Connection(socket, origin);
    this.#origins.set(address, origin);
    origin.connections.add(connection);
    this.#connections.set(socket, connection);
    this.#rest(connection);
    socket.once("close", () => this.#remove(connection));
  }

  /**
   * Works on a request when its turn comes.
   * @param begin calls its argument once the reply is out
   */
  enqueue(socket: Socket, begin: (finished: () => void) => void): void {
    const connection = this.#connections.get(socket);
    // It was closed, and the rest of what it had sent is parsed.
    if (connection === undefined) return;
    this.#idle.delete(connection);
    connection.origin.idle.delete(connection);
    const run = (): void => {
      if (connection.underWay > 0) connection.origin.ahead += 1;
      connection.underWay += 1;
      begin(() => this.#finished(connection));
    };
    if (connection.waiting.length === 0 && hasTurn(connection)) run();
    else if (connection.waiting.length < this.#limits.maxPipelinedRequests) connection.waiting.push(run);
    else this.#endFlood(connection);
  }

  /** Whether a reply is being made or sent. */
  isBusy(socket: Socket): boolean {
    return (this.#connections.get(socket)?.underWay ?? 0) > 0;
  }

  /** Closes connections without a request now, and each of the others as soon as its last response is sent. */
  drain(): void {
    this.#isDraining = true;
    for (const { socket } of this.#idle) socket.destroy();
  }

  /** Tells the log of a limit that was hit, once in a while. */
  hit(limit: Limit, allowed: number, address: string): void {
    const nowMs = this.#clock();
    const known = this.#hits.get(limit) ?? { loggedMs: Number.NEGATIVE_INFINITY, untold: 0 };
    this.#hits.set(limit, known);
    known.untold += 1;
    if (nowMs - known.loggedMs < quietMs) return;
    this.#log.warn(
      { limit: `limits.http.${limit}`, allowed, address, times: known.untold },
      "a limit closed connections",
    );
    known.loggedMs = nowMs;
    known.untold = 0;
  }

  #makeRoom(hasRoom: boolean, idle: ReadonlySet<Connection>, limit: Limit, address: string): boolean {
    if (hasRoom) return true;
    this.hit(limit, limit === "max_connections" ? this.#limits.maxConnections : this.#perAddress, address);
    const [oldest] = idle;
    if (oldest === undefined) return false;
    oldest.socket.destroy();
    // Its place is free at once, and not only when the system has closed it.
    this.#remove(oldest);
    return true;
  }

  #endFlood({ socket, origin }: Connection): void {
    const { address, connections } = origin;
    this.hit("max_pipelined_requests", this.#limits.maxPipelinedRequests, address);
    if (this.#perAddress === Number.POSITIVE_INFINITY) {
      socket.destroy();
      return;
    }
    this.#unheard.set(address, this.#clock() + floodPenaltyMs);
    for (const connection of connections) connection.socket.destroy();
  }

  #rest(connection: Connection): void {
    this.#idle.add(connection);
    connection.origin.idle.add(connection);
  }

  #finished(connection: Connection): void {
    connection.underWay -= 1;
    if (connection.underWay > 0) connection.origin.ahead -= 1;
    if (!this.#connections.has(connection.socket)) return;
    while (connection.waiting.length > 0 && hasTurn(connection)) connection.waiting.shift()?.();
    if (connection.underWay > 0) return;
    if (this.#isDraining) connection.socket.destroySoon();
    else this.#rest(connection);
  }

  #remove(connection: Connection): void {
    if (!this.#connections.delete(connection.socket)) return;
    this.#idle.delete(connection);
    const { origin, underWay } = connection;
    origin.idle.delete(connection);
    origin.ahead -= Math.max(0, underWay - 1);
    connection.underWay = 0;
    origin.connections.delete(connection);
    if (origin.connections.size === 0) this.#origins.delete(origin.address);
  }
}

/** The first request of a connection never waits for those of another. */
const hasTurn = ({ underWay, origin }: Connection): boolean =>
  underWay === 0 || (underWay < maxPipelined && origin.ahead < maxAheadPerAddress);
