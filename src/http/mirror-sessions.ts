// Clients that fetch a Release and then its indices by plain names, request by request: mirrors. What such a client began
// with is remembered for a while, so that it gets files of one publication, though another one has taken its place.
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { LRUCache } from "lru-cache";
import type { Clock } from "../base/clock.ts";
import type { ClientSession, ReleaseFile } from "../publishing/served-repository.ts";
import { lastForwarded } from "./client-address.ts";

export interface MirrorLimits {
  /** How long a client may ask for nothing of a suite and still get files of the publication that it began with. */
  readonly mirrorIdleSeconds: number;
  /** The same from the Release on that it began with, however busy it is: what it gets is never staler. */
  readonly mirrorSessionSeconds: number;
  /** Clients and suites that are remembered; the ones that have been silent for the longest time are forgotten first. */
  readonly maxMirrorSessions: number;
}

export const defaultMirrorLimits: MirrorLimits = {
  mirrorIdleSeconds: 30,
  mirrorSessionSeconds: 300,
  maxMirrorSessions: 4096,
};

/**
 * Some clients fetch Release and InRelease, one right after the other on one connection, to keep both: debmirror, and
 * wget with a list. They get both from one publication, if the second is asked for so soon.
 */
const pairMs = 1000;
/** Suites that are remembered for one connection; those of a client are remembered for its address as well. */
const maxSuitesPerConnection = 16;
/** As much of a header as tells clients apart. */
const maxKeyLength = 256;

/** That a client began with a publication. */
interface Session {
  readonly id: string;
  /** What it began with, and whether the other file of the pair was fetched too. */
  readonly file: ReleaseFile;
  isPaired: boolean;
  /** Which request of its connection it began with. */
  readonly ordinal: number;
  readonly beganMs: number;
  usedMs: number;
}

/** What is remembered of one connection. */
interface ConnectionMemory {
  requests: number;
  readonly sessions: Map<string, Session>;
}

/** Clients are told apart by connection, and beyond one connection by address and User-Agent. */
export class MirrorSessions {
  readonly #idleMs: number;
  readonly #sessionMs: number;
  readonly #behindProxy: boolean;
  readonly #clock: Clock;
  readonly #byClient: LRUCache<string, Session>;
  readonly #byConnection = new WeakMap<Socket, ConnectionMemory>();

  /** @param options.behindProxy whether the last address of X-Forwarded-For is the client's */
  constructor(limits: MirrorLimits, { behindProxy, clock }: { readonly behindProxy: boolean; readonly clock: Clock }) {
    this.#idleMs = limits.mirrorIdleSeconds * 1000;
    this.#sessionMs = limits.mirrorSessionSeconds * 1000;
    this.#behindProxy = behindProxy;
    this.#clock = clock;
    this.#byClient = new LRUCache({ max: limits.maxMirrorSessions });
  }

  /**
   * The sessions of the client that sends a request. Must be called for each request, in the order of arrival.
   * @returns undefined for a client that can't be told from others: one behind a proxy that does not name it
   */
  of(request: IncomingMessage): ClientSession | undefined {
    const { socket, headers } = request;
    const forwarded = headers["x-forwarded-for"];
    if (this.#behindProxy || forwarded !== undefined) {
      // A proxy sends requests of many clients over one connection.
      return forwarded === undefined ? undefined : new RequestSession(this, request, undefined, 0);
    }
    if (headers.via !== undefined || headers.forwarded !== undefined) return undefined;
    const memory = this.#byConnection.get(socket) ?? { requests: 0, sessions: new Map() };
    if (memory.requests === 0) this.#byConnection.set(socket, memory);
    memory.requests += 1;
    return new RequestSession(this, request, memory, memory.requests);
  }

  /** Remembers what a client begins with. @returns the id of the publication that it begins with */
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
    // Of a client behind a proxy it is not known what it asked for in between.
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

  /** What a client began with, unless that is too long ago. */
  current(client: string, memory: ConnectionMemory | undefined, suiteKey: string): Session | undefined {
    const nowMs = this.#clock();
    const session = memory?.sessions.get(suiteKey) ?? this.#byClient.get(`${client} ${suiteKey}`);
    if (session === undefined) return undefined;
    if (nowMs - session.usedMs > this.#idleMs || nowMs - session.beganMs > this.#sessionMs) return undefined;
    session.usedMs = nowMs;
    return session;
  }

  /** Names a client beyond its connection. */
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
