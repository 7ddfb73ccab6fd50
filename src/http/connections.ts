// Limits the open connections, in all and for each address, so that no client can lock out the others.
import type { Socket } from "node:net";
import { LRUCache } from "lru-cache";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { networkOf } from "./client-address.ts";

export interface ConnectionLimits {
  /** Open connections from all addresses together. */
  readonly maxConnections: number;
  /** Open connections from one IPv4 address or one IPv6 /64 network; ignored behind a trusted proxy. */
  readonly maxConnectionsPerAddress: number;
  /** Queued requests of one connection; each takes some kilobytes. */
  readonly maxPipelinedRequests: number;
  /** From the start of a connection, or a request's first byte, to the end of its header fields. */
  readonly headersTimeoutSeconds: number;
}

export const defaultConnectionLimits: ConnectionLimits = {
  maxConnections: 4096,
  maxConnectionsPerAddress: 256,
  maxPipelinedRequests: 256,
  headersTimeoutSeconds: 15,
};

/** Requests of one connection that are processed at once; the others are queued. apt pipelines ten requests. */
const maxPipelined = 16;
/** Requests of one address that are processed while an earlier request of their connection is still unanswered. */
const maxAheadPerAddress = 256;
/** The minimum time between two log lines about the same limit. */
const quietMs = 10_000;
/**
 * How long an address is blocked after it has sent too many requests at once: reading them takes much longer than sending
 * them, and delays all others.
 */
const floodPenaltyMs = 10_000;

/** The maximum number of addresses that are blocked at once. */
const maxBlockedAddresses = 1000;

type Limit = "max_connections" | "max_connections_per_address" | "max_pipelined_requests" | "headers_timeout_seconds";

/** All connections of one address. */
interface Origin {
  readonly address: string;
  readonly connections: Set<Connection>;
  /** Connections without a request, the one that is idle for the longest time first. */
  readonly idle: Set<Connection>;
  /** Requests in progress that are not the first of their connection. */
  ahead: number;
}

/** One connection and its requests. */
class Connection {
  readonly socket: Socket;
  readonly origin: Origin;
  underWay = 0;
  /** When the connection was made or its last response was sent, in ms since the epoch. */
  idleSinceMs = 0;
  /** Queued requests in order of arrival. */
  readonly waiting: (() => void)[] = [];

  constructor(socket: Socket, origin: Origin) {
    this.socket = socket;
    this.origin = origin;
  }
}

/**
 * If a limit is reached, the connection that is idle for the longest time is closed in favour of the new one: clients that
 * send nothing, or their headers byte by byte, lock out nobody, not even others at their address. A new connection is
 * closed only if all others have a request in progress.
 */
export class Connections {
  #limits: ConnectionLimits;
  #perAddress: number;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #origins = new Map<string, Origin>();
  readonly #connections = new Map<Socket, Connection>();
  /** Idle connections of all addresses. */
  readonly #idle = new Set<Connection>();
  /** Blocked addresses, and until when (in ms since the epoch). */
  readonly #blocked = new LRUCache<string, number>({ max: maxBlockedAddresses });
  readonly #hits = new Map<Limit, { loggedMs: number; unreported: number }>();
  /** Undefined until `drain`. */
  #minIdleMs: number | undefined;

  /** @param options.behindProxy whether all connections come from a trusted proxy, and so from one address */
  constructor(
    limits: ConnectionLimits,
    { behindProxy, log, clock }: { readonly behindProxy: boolean; readonly log: Log; readonly clock: Clock },
  ) {
    this.#limits = limits;
    this.#perAddress = perAddressOf(limits, behindProxy);
    this.#log = log;
    this.#clock = clock;
  }

  /** Changes the limits. Connections that are open stay. */
  configure(limits: ConnectionLimits, behindProxy: boolean): void {
    this.#limits = limits;
    this.#perAddress = perAddressOf(limits, behindProxy);
  }

  /** Registers a new connection, or closes it if a limit forbids it. */
  add(socket: Socket): void {
    const address = networkOf(socket.remoteAddress ?? "");
    const origin = this.#origins.get(address) ?? { address, connections: new Set(), idle: new Set(), ahead: 0 };
    const { maxConnections } = this.#limits;
    const isPlaced =
      (this.#blocked.get(address) ?? 0) <= this.#clock() &&
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
   * Processes a request now, or later if the limits require it.
   * @param begin must call its argument when the response is sent
   */
  enqueue(socket: Socket, begin: (finished: () => void) => void): void {
    const connection = this.#connections.get(socket);
    // The connection was closed while the parser still had requests of it.
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

  /** Whether a request of the connection is in progress. */
  isBusy(socket: Socket): boolean {
    return (this.#connections.get(socket)?.underWay ?? 0) > 0;
  }

  /**
   * Closes each connection when it has been idle for some time, which for most idle connections is now.
   * @param minIdleMs 0: all idle connections now, and each of the others when its last response is sent
   */
  drain(minIdleMs: number): void {
    this.#minIdleMs = minIdleMs;
    for (const connection of this.#idle) this.#closeIfIdle(connection, minIdleMs);
  }

  /** Logs that a limit was reached, but not more often than every `quietMs`. */
  hit(limit: Limit, allowed: number, address: string): void {
    const nowMs = this.#clock();
    const known = this.#hits.get(limit) ?? { loggedMs: Number.NEGATIVE_INFINITY, unreported: 0 };
    this.#hits.set(limit, known);
    known.unreported += 1;
    if (nowMs - known.loggedMs < quietMs) return;
    this.#log.warn(
      { limit: `limits.http.${limit}`, allowed, address, times: known.unreported },
      "connections closed because of a limit",
    );
    known.loggedMs = nowMs;
    known.unreported = 0;
  }

  #makeRoom(hasRoom: boolean, idle: ReadonlySet<Connection>, limit: Limit, address: string): boolean {
    if (hasRoom) return true;
    this.hit(limit, limit === "max_connections" ? this.#limits.maxConnections : this.#perAddress, address);
    const [oldest] = idle;
    if (oldest === undefined) return false;
    oldest.socket.destroy();
    // Not only when the operating system has closed it.
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
    this.#blocked.set(address, this.#clock() + floodPenaltyMs);
    for (const connection of connections) connection.socket.destroy();
  }

  #rest(connection: Connection): void {
    connection.idleSinceMs = this.#clock();
    this.#idle.add(connection);
    connection.origin.idle.add(connection);
    if (this.#minIdleMs !== undefined) this.#closeIfIdle(connection, this.#minIdleMs);
  }

  /** Closes the connection now if it has been idle for `minIdleMs`, otherwise then, unless a request comes. */
  #closeIfIdle(connection: Connection, minIdleMs: number): void {
    const { socket, idleSinceMs } = connection;
    if (!this.#idle.has(connection)) return;
    const remainingMs = idleSinceMs + minIdleMs - this.#clock();
    if (remainingMs <= 0) {
      socket.destroySoon();
      return;
    }
    const closing = setTimeout(() => {
      if (connection.idleSinceMs === idleSinceMs) this.#closeIfIdle(connection, 0);
    }, remainingMs);
    socket.once("close", () => clearTimeout(closing));
  }

  #finished(connection: Connection): void {
    connection.underWay -= 1;
    if (connection.underWay > 0) connection.origin.ahead -= 1;
    if (!this.#connections.has(connection.socket)) return;
    while (connection.waiting.length > 0 && hasTurn(connection)) connection.waiting.shift()?.();
    if (connection.underWay > 0) return;
    this.#rest(connection);
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

const perAddressOf = ({ maxConnectionsPerAddress }: ConnectionLimits, behindProxy: boolean): number =>
  behindProxy ? Number.POSITIVE_INFINITY : maxConnectionsPerAddress;

/** The first request of a connection never waits for those of another. */
const hasTurn = ({ underWay, origin }: Connection): boolean =>
  underWay === 0 || (underWay < maxPipelined && origin.ahead < maxAheadPerAddress);
