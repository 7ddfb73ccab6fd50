// Mirrors fetch Release and then the indices by plain names, in several requests. This remembers the publication whose
// Release each client has fetched, so that it gets the indices of the same one even if a new one is current.
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { LRUCache } from "lru-cache";
import type { Clock } from "../base/clock.ts";
import type { ClientSession, ReleaseFile } from "../publishing/served-repository.ts";
import { lastForwarded } from "./client-address.ts";

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

/** A client that is reading a publication. */
interface Session {
  readonly id: string;
  /** The file that began the session, and whether the other file of the pair was fetched too. */
  readonly file: ReleaseFile;
  isPaired: boolean;
  /** The ordinal number, within its connection, of the request that began the session. */
  readonly ordinal: number;
  readonly beganMs: number;
  usedMs: number;
}

/** The sessions of one connection. */
interface ConnectionMemory {
  requests: number;
  readonly sessions: Map<string, Session>;
}

/** Identifies clients by connection, and across connections by address and User-Agent. */
export class MirrorSessions {
  #idleMs = 0;
  #sessionMs = 0;
  #behindProxy = false;
  readonly #clock: Clock;
  #byClient: LRUCache<string, Session>;
  readonly #byConnection = new WeakMap<Socket, ConnectionMemory>();

  /** @param options.behindProxy whether the last address of X-Forwarded-For is the client's */
  constructor(limits: MirrorLimits, { behindProxy, clock }: { readonly behindProxy: boolean; readonly clock: Clock }) {
    this.#clock = clock;
    this.#byClient = new LRUCache({ max: limits.maxMirrorSessions });
    this.configure(limits, behindProxy);
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
  of(request: IncomingMessage): ClientSession | undefined {
    const { socket, headers } = request;
    const forwarded = headers["x-forwarded-for"];
    if (this.#behindProxy || forwarded !== undefined) {
      // A proxy sends the requests of many clients over one connection.
      return forwarded === undefined ? undefined : new RequestSession(this, request, undefined, 0);
    }
    if (headers.via !== undefined || headers.forwarded !== undefined) return undefined;
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
      return before.id;
    }
    const session = { id: currentId, file, isPaired: false, ordinal, beganMs: nowMs, usedMs: nowMs };
    this.#byClient.set(key, session);
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
    if (nowMs - session.usedMs > this.#idleMs || nowMs - session.beganMs > this.#sessionMs) return undefined;
    session.usedMs = nowMs;
    return session;
  }

  /** Identifies a client across connections. */
  clientOf({ headers, socket }: IncomingMessage): string {
    const who = this.#behindProxy ? lastForwarded(headers) : String(headers["x-forwarded-for"] ?? "");
    const parts = [socket.remoteAddress ?? "", who, headers["user-agent"] ?? ""];
    return JSON.stringify(parts.map((part) => part.slice(-maxKeyLength)));
  }
}

/** The sessions of a client, seen from one of its requests. */
class RequestSession implements ClientSession {
  readonly #sessions: MirrorSessions;
  readonly #request: IncomingMessage;
  readonly #memory: ConnectionMemory | undefined;
  /** Which request of its connection it is. */
  readonly #ordinal: number;

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

  begin(suiteKey: string, file: ReleaseFile, currentId: string): string {
    const begun = { suiteKey, file, ordinal: this.#ordinal, currentId };
    return this.#sessions.begin(this.#sessions.clientOf(this.#request), this.#memory, begun);
  }

  continued(suiteKey: string): string | undefined {
    return this.#sessions.current(this.#sessions.clientOf(this.#request), this.#memory, suiteKey)?.id;
  }
}
