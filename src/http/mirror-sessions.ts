// Mirrors fetch Release and then the indices by plain names, in several requests. This remembers the publication whose
// Release each client has fetched, so that it gets the indices of the same one even if a new one is current. In a fleet,
// the load balancer can remember it too, and then nothing depends on what the servers tell each other.
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { LRUCache } from "lru-cache";
import type { Clock } from "../base/clock.ts";
import type { ClientSession, ReleaseFile } from "../publishing/served-repository.ts";
import { publicationId, secondsOfMoment } from "../publishing/store/publication.ts";
import { isPassedOn, lastForwarded, peerAddress } from "./client-address.ts";

export interface MirrorLimits {
  /** A session ends when the client requests nothing of the suite for this long. */
  readonly mirrorIdleSeconds: number;
  /** A session ends this long after its Release was fetched, in any case. */
  readonly mirrorSessionSeconds: number;
  /** The maximum number of sessions; the least recently used are dropped first. */
  readonly maxMirrorSessions: number;
}

export const defaultMirrorLimits: MirrorLimits = {
  mirrorIdleSeconds: 30,
  mirrorSessionSeconds: 300,
  maxMirrorSessions: 4096,
};

/**
 * Some clients fetch Release and InRelease one right after the other on one connection (debmirror, wget with a list of
 * URLs). They get both from one publication if the second request comes within this time.
 */
const pairMs = 1000;
/** The maximum number of suites for each connection. */
const maxSuitesPerConnection = 16;
/** How many characters of a header distinguish clients. */
const maxKeyLength = 256;

/**
 * Has the Date, in seconds since the epoch, of the publication that a client reads. A server of a fleet sends it with
 * Release and InRelease. The load balancer remembers it, and sends it with each request of the client: 0 if it does not
 * know the client. Only the client itself would be confused by a wrong one.
 */
const publicationField = "Tahoe-Apt-Publication";

/**
 * Has the name that the load balancer gives to this server. If it begins with `any-`, no server of the fleet is ready, so
 * that this one is to serve what it has.
 */
const replicaField = "Tahoe-Apt-Replica";

/** A client that is reading a publication, as all servers of a fleet know it. */
export interface SharedSession {
  readonly id: string;
  /** The file that began the session, and whether the other file of the pair was fetched too. */
  readonly file: ReleaseFile;
  readonly isPaired: boolean;
  readonly beganMs: number;
}

/** Where the servers of a fleet tell each other about the sessions of their clients. */
export interface SharedSessions {
  /** Whether the load balancer before the servers may remember which publication a client reads. */
  readonly haveLoadBalancer: boolean;
  /**
   * Replaces what the others know of a client. Failures are ignored: then they serve by what they know themselves.
   * @returns resolves when the others can know it
   */
  set(key: string, session: SharedSession, idleMs: number): Promise<void>;
  /** Keeps what the others know for another while. */
  extend(key: string, idleMs: number): void;
  /** @returns what the server knows to which the client came last; undefined: nothing, or it cannot be asked */
  get(key: string): Promise<SharedSession | undefined>;
}

interface Session extends SharedSession {
  isPaired: boolean;
  /** The ordinal number, within its connection, of the request that began the session; 0 if that was elsewhere. */
  readonly ordinal: number;
  usedMs: number;
  /** When the others were last told. */
  toldMs: number;
}

/** The sessions of one connection. */
interface ConnectionMemory {
  requests: number;
  readonly sessions: Map<string, Session>;
}

/** The others are told that a session goes on when this part of its idle time has passed. */
const extendedAfter = 1 / 3;

/** Identifies clients by connection, and across connections by address and User-Agent. */
export class MirrorSessions {
  #idleMs = 0;
  #sessionMs = 0;
  #behindProxy = false;
  readonly #clock: Clock;
  #byClient: LRUCache<string, Session>;
  readonly #byConnection = new WeakMap<Socket, ConnectionMemory>();
  readonly #shared: SharedSessions | undefined;
  /** Clients that have requested indices by plain names. */
  readonly #plain: LRUCache<string, true>;
  /** Since when each suite has had its current publication. */
  readonly #current = new Map<string, { readonly id: string; readonly sinceMs: number }>();

  /**
   * @param options.behindProxy whether the last address of X-Forwarded-For is the client's
   * @param options.shared undefined if this is the only server
   */
  constructor(
    limits: MirrorLimits,
    {
      behindProxy,
      clock,
      shared,
    }: { readonly behindProxy: boolean; readonly clock: Clock; readonly shared?: SharedSessions | undefined },
  ) {
    this.#clock = clock;
    this.#shared = shared;
    this.#plain = new LRUCache({ max: limits.maxMirrorSessions });
    this.#byClient = new LRUCache({ max: limits.maxMirrorSessions });
    this.configure(limits, behindProxy);
  }

  /** Whether other servers know of the sessions too. */
  get isShared(): boolean {
    return this.#shared !== undefined;
  }

  /** Whether the load balancer may know of the sessions. */
  get haveLoadBalancer(): boolean {
    return this.#shared?.haveLoadBalancer === true;
  }

  /** Changes the settings. The sessions go on. */
  configure({ mirrorIdleSeconds, mirrorSessionSeconds, maxMirrorSessions }: MirrorLimits, behindProxy: boolean): void {
    this.#idleMs = mirrorIdleSeconds * 1000;
    this.#sessionMs = mirrorSessionSeconds * 1000;
    this.#behindProxy = behindProxy;
    if (this.#byClient.max === maxMirrorSessions) return;
    const known = this.#byClient;
    this.#byClient = new LRUCache({ max: maxMirrorSessions });
    this.#byClient.load(known.dump());
  }

  /**
   * Returns the sessions of the client that sent a request. Must be called for each request, in order of arrival.
   * @returns undefined if the client cannot be identified: it is behind a proxy that does not name it
   */
  of(request: IncomingMessage): RequestSession | undefined {
    const { socket, headers } = request;
    const forwarded = headers["x-forwarded-for"];
    if (this.#behindProxy || forwarded !== undefined) {
      // A proxy sends the requests of many clients over one connection.
      return forwarded === undefined ? undefined : new RequestSession(this, request, undefined, 0);
    }
    if (headers.via !== undefined || headers.forwarded !== undefined) return undefined;
    if (isPassedOn(request)) return new RequestSession(this, request, undefined, 0);
    const memory = this.#byConnection.get(socket) ?? { requests: 0, sessions: new Map() };
    if (memory.requests === 0) this.#byConnection.set(socket, memory);
    memory.requests += 1;
    return new RequestSession(this, request, memory, memory.requests);
  }

  /** Begins a session. @returns the id of the publication to serve */
  begin(
    client: string,
    memory: ConnectionMemory | undefined,
    {
      suiteKey,
      file,
      ordinal,
      currentId,
    }: Readonly<Record<"suiteKey" | "currentId", string>> & Pick<Session, "file" | "ordinal">,
  ): string {
    const nowMs = this.#clock();
    const key = `${client} ${suiteKey}`;
    const before = memory === undefined ? this.#byClient.get(key) : memory.sessions.get(suiteKey);
    // The requests in between are unknown for a client behind a proxy.
    const isNext = memory === undefined || before?.ordinal === ordinal - 1;
    if (
      before !== undefined &&
      isNext &&
      before.file !== file &&
      !before.isPaired &&
      nowMs - before.beganMs <= pairMs
    ) {
      before.isPaired = true;
      this.#tell(key, before);
      return before.id;
    }
    const session = { id: currentId, file, isPaired: false, ordinal, beganMs: nowMs, usedMs: nowMs, toldMs: nowMs };
    this.#byClient.set(key, session);
    this.#tell(key, session);
    if (memory !== undefined) {
      const { sessions } = memory;
      const [oldest] = sessions.keys();
      sessions.delete(suiteKey);
      if (sessions.size >= maxSuitesPerConnection && oldest !== undefined) sessions.delete(oldest);
      sessions.set(suiteKey, session);
    }
    return currentId;
  }

  /** @returns the session of a client; undefined if it has none or it has ended */
  current(client: string, memory: ConnectionMemory | undefined, suiteKey: string): Session | undefined {
    const nowMs = this.#clock();
    const session = memory?.sessions.get(suiteKey) ?? this.#byClient.get(`${client} ${suiteKey}`);
    if (session === undefined) return undefined;
    if (this.#shared !== undefined) this.#plain.set(client, true);
    if (this.#hasEnded(session, nowMs)) return undefined;
    session.usedMs = nowMs;
    if (this.#shared !== undefined && nowMs - session.toldMs > this.#idleMs * extendedAfter) {
      session.toldMs = nowMs;
      this.#shared.extend(`${client} ${suiteKey}`, this.#idleMs);
    }
    return session;
  }

  #hasEnded({ usedMs, beganMs }: Session, nowMs: number): boolean {
    return nowMs - usedMs > this.#idleMs || nowMs - beganMs > this.#sessionMs;
  }

  /** What this server knows of a client, for others that ask. @param key as `SharedSessions` gets it */
  known(key: string): SharedSession | undefined {
    const session = this.#byClient.peek(key);
    if (session === undefined || this.#hasEnded(session, this.#clock())) return undefined;
    const { id, file, isPaired, beganMs } = session;
    return { id, file, isPaired, beganMs };
  }

  /**
   * Asks the other servers of the fleet about a client, if what they know can matter: while a suite has one publication,
   * every client is reading that one.
   * @param isRemembered whether the load balancer remembers what the client is reading
   * @returns undefined if nobody needs to be asked
   */
  learn(
    client: string,
    memory: ConnectionMemory | undefined,
    {
      suiteKey,
      file,
      currentId,
      isRemembered,
    }: Readonly<Record<"suiteKey" | "currentId", string>> & {
      readonly file: ReleaseFile | undefined;
      readonly isRemembered: boolean;
    },
  ): Promise<void> | undefined {
    const shared = this.#shared;
    if (shared === undefined) return undefined;
    const nowMs = this.#clock();
    const known = this.#current.get(suiteKey);
    const { sinceMs } = known?.id === currentId ? known : { sinceMs: nowMs };
    if (known?.id !== currentId) this.#current.set(suiteKey, { id: currentId, sinceMs });
    const relevantMs = file === undefined ? this.#sessionMs : pairMs;
    const key = `${client} ${suiteKey}`;
    // Whoever keeps a connection to this server has not been elsewhere.
    const mustAsk = nowMs - sinceMs <= relevantMs && memory?.sessions.has(suiteKey) !== true;
    // The next request of this client may come to another server before that could know of the session.
    const mustTell = file !== undefined && !isRemembered && this.#plain.has(client);
    if (!mustAsk && !mustTell) return undefined;
    return this.#exchange(shared, key, {
      mustAsk,
      told: mustTell ? { id: currentId, file, isPaired: false, beganMs: nowMs } : undefined,
    });
  }

  async #exchange(
    shared: SharedSessions,
    key: string,
    { mustAsk, told }: { readonly mustAsk: boolean; readonly told: SharedSession | undefined },
  ): Promise<void> {
    if (mustAsk) await this.#learnFrom(shared, key);
    if (told !== undefined) await shared.set(key, told, this.#idleMs);
  }

  async #learnFrom(shared: SharedSessions, key: string): Promise<void> {
    const before = this.#byClient.get(key);
    const learnt = await shared.get(key);
    // A session that began here meanwhile is newer.
    if (learnt === undefined || this.#byClient.get(key) !== before) return;
    const nowMs = this.#clock();
    if (before !== undefined && isSame(learnt, before)) {
      // It went on elsewhere.
      before.usedMs = nowMs;
      return;
    }
    this.#byClient.set(key, { ...learnt, ordinal: 0, usedMs: nowMs, toldMs: nowMs });
  }

  #tell(key: string, session: Session): void {
    const { id, file, isPaired, beganMs } = session;
    void this.#shared?.set(key, { id, file, isPaired, beganMs }, this.#idleMs);
  }

  /** Identifies a client across connections. */
  clientOf(request: IncomingMessage): string {
    const { headers } = request;
    // A fleet may have several proxies.
    const [address, who] = this.#behindProxy
      ? ["", lastForwarded(headers)]
      : [peerAddress(request) ?? "", String(headers["x-forwarded-for"] ?? "")];
    const parts = [address, who, headers["user-agent"] ?? ""];
    return JSON.stringify(parts.map((part) => part.slice(-maxKeyLength)));
  }
}

const isSame = (one: SharedSession, other: SharedSession): boolean =>
  one.id === other.id && one.beganMs === other.beganMs && one.isPaired === other.isPaired;

/** The sessions of a client, seen from one of its requests. */
export class RequestSession implements ClientSession {
  readonly #sessions: MirrorSessions;
  readonly #request: IncomingMessage;
  readonly #memory: ConnectionMemory | undefined;
  /** Which request of its connection it is. */
  readonly #ordinal: number;
  /** The id of the publication whose Release or InRelease this request gets; undefined if it is for another file. */
  #begunId: string | undefined;
  /** What the other servers were asked for this request, and whether they have answered. */
  #learnt: Promise<void> | "done" | undefined;

  constructor(
    sessions: MirrorSessions,
    request: IncomingMessage,
    memory: ConnectionMemory | undefined,
    ordinal: number,
  ) {
    this.#sessions = sessions;
    this.#request = request;
    this.#memory = memory;
    this.#ordinal = ordinal;
  }

  get isShared(): boolean {
    return this.#sessions.isShared;
  }

  get told(): string | undefined {
    const seconds = this.#remembered;
    return this.#sessions.haveLoadBalancer && /^[1-9]\d{0,10}$/.test(seconds ?? "")
      ? publicationId(Number(seconds))
      : undefined;
  }

  get canAskOthers(): boolean {
    const name = this.#field(replicaField);
    return this.isShared && name !== undefined && !name.startsWith("any-");
  }

  /** What the load balancer says; undefined if it does not remember clients. */
  get #remembered(): string | undefined {
    return this.#field(publicationField);
  }

  #field(name: string): string | undefined {
    return this.#request.headers[name.toLowerCase()]?.toString();
  }

  learn(suiteKey: string, file: ReleaseFile | undefined, currentId: string): Promise<void> | undefined {
    if (this.#learnt === "done") return undefined;
    const about = { suiteKey, file, currentId, isRemembered: this.#remembered !== undefined };
    this.#learnt ??= this.#sessions.learn(this.#sessions.clientOf(this.#request), this.#memory, about)?.then(() => {
      this.#learnt = "done";
    });
    return this.#learnt;
  }

  begin(suiteKey: string, file: ReleaseFile, currentId: string): string {
    const begun = { suiteKey, file, ordinal: this.#ordinal, currentId };
    this.#begunId = this.#sessions.begin(this.#sessions.clientOf(this.#request), this.#memory, begun);
    return this.#begunId;
  }

  /** The header field that a response to this request needs, if any. */
  get publicationField(): readonly [name: string, value: string] | undefined {
    if (!this.#sessions.haveLoadBalancer || this.#begunId === undefined) return undefined;
    return [publicationField, String(secondsOfMoment(this.#begunId))];
  }

  continued(suiteKey: string): string | undefined {
    return this.#sessions.current(this.#sessions.clientOf(this.#request), this.#memory, suiteKey)?.id;
  }
}
