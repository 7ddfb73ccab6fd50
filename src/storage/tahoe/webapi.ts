// One HTTP exchange with a Tahoe gateway: bounded in time and sockets, and with errors that hold no cap.
import http from "node:http";
import https from "node:https";
import type { Socket } from "node:net";
import type { Duplex, Readable } from "node:stream";
import fetch from "node-fetch";
import { onAbort } from "../../base/abort.ts";
import { LimitExceeded, RepoError, systemCodeOf } from "../../base/errors.ts";
import type { TreePath } from "../../base/names.ts";
import { StorageUnavailable } from "../tree.ts";

/** How long, and how much at once. */
export interface WebapiLimits {
  /** Until a connection stands. */
  readonly connectTimeoutMs: number;
  /** Until the first byte of a file's bytes comes, waiting for a free socket included. */
  readonly firstByteTimeoutMs: number;
  /** The same for a listing, which Tahoe sends only when all of it is read: some 0.25 ms an entry. */
  readonly listingTimeoutMs: number;
  /** The same for a change: Tahoe answers when all is stored. */
  readonly writeTimeoutMs: number;
  /** Between two pieces of a body, while somebody waits for them. */
  readonly stallTimeoutMs: number;
  readonly maxSockets: number;
}

export const defaultWebapiLimits: WebapiLimits = {
  connectTimeoutMs: 5_000,
  firstByteTimeoutMs: 20_000,
  listingTimeoutMs: 120_000,
  writeTimeoutMs: 600_000,
  stallTimeoutMs: 20_000,
  maxSockets: 32,
};

/** Twisted closes an idle connection after 60 s; ours must go first, or a request meets a closing one. */
const idleSocketMs = 30_000;

/** Not the URL of a gateway. Does not repeat it, since a cap may have been pasted into it. */
class WebapiUrlError extends RepoError {
  readonly code = "storage/bad-webapi-url";
}

export interface WebapiRequest {
  readonly method: "GET" | "PUT" | "POST" | "DELETE";
  /** Below `/uri`, each not yet encoded. */
  readonly names: readonly string[];
  readonly query?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer | Readable;
  readonly timeoutMs: number;
  /** What errors name. */
  readonly path: TreePath;
}

export interface WebapiReply {
  readonly status: number;
  header(name: string): string | undefined;
  /** To be iterated at most once. @throws StorageUnavailable when it stalls or breaks off */
  readonly body: AsyncIterable<Uint8Array>;
  /** Ends an exchange whose body is not wanted. */
  close(): void;
}

/** A reply's whole body, within a named limit. @throws LimitExceeded, StorageUnavailable */
export async function textOf(
  reply: WebapiReply,
  limit: { readonly name: string | undefined; readonly bytes: number; readonly what: string },
): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of reply.body) {
    bytes += chunk.length;
    if (bytes > limit.bytes) throw new LimitExceeded(limit.name, limit.bytes, limit.what);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** A Tahoe gateway. */
export class Webapi {
  readonly limits: WebapiLimits;
  readonly #base: string;
  /** For messages: without a user, a password or a path. */
  readonly #origin: string;
  readonly #authorization: Readonly<Record<string, string>>;
  readonly #agent: http.Agent;

  /**
   * @param url e.g. `http://127.0.0.1:3456`; may hold a user and password for a proxy before it
   * @throws WebapiUrlError
   */
  constructor(url: string, limits: WebapiLimits = defaultWebapiLimits) {
    const parsed = URL.canParse(url) ? new URL(url) : undefined;
    if (parsed === undefined || !/^https?:$/.test(parsed.protocol) || /uri/i.test(parsed.pathname) || parsed.search) {
      throw new WebapiUrlError("a gateway's URL looks like http://127.0.0.1:3456 and holds no cap");
    }
    const user = `${decodeURIComponent(parsed.username)}:${decodeURIComponent(parsed.password)}`;
    this.#authorization = user === ":" ? {} : { Authorization: `Basic ${Buffer.from(user).toString("base64")}` };
    this.#origin = parsed.origin;
    this.#base = `${parsed.protocol}//${parsed.host}${parsed.pathname.replace(/\/+$/, "")}/uri`;
    this.limits = limits;
    this.#agent = boundedAgent(parsed.protocol === "https:", limits);
  }

  /** @throws StorageUnavailable if no answer comes; any status is an answer */
  async request(asked: WebapiRequest, signal: AbortSignal): Promise<WebapiReply> {
    signal.throwIfAborted();
    const controller = new AbortController();
    const forget = onAbort(signal, () => controller.abort());
    const close = (): void => {
      forget();
      controller.abort();
    };
    const waitFor = async <T>(promise: Promise<T>, timeoutMs: number): Promise<T> => {
      let late = false;
      const timer = setTimeout(() => {
        late = true;
        controller.abort();
      }, timeoutMs);
      try {
        return await promise;
      } catch (thrown) {
        close();
        signal.throwIfAborted();
        // node-fetch's errors hold the whole URL and so the cap: never passed on, not even as a cause.
        const why = late
          ? `${this.#origin} gave no answer within ${timeoutMs / 1000} s`
          : `the connection to ${this.#origin} failed (${systemCodeOf(thrown) ?? "broken off"})`;
        throw new StorageUnavailable(asked.path, why, { transient: true });
      } finally {
        clearTimeout(timer);
      }
    };

    const url = [this.#base, ...asked.names.map(encodeURIComponent)].join("/");
    const reply = await waitFor(
      fetch(asked.query === undefined ? url : `${url}?${asked.query}`, {
        method: asked.method,
        headers: { "Accept-Encoding": "identity", ...this.#authorization, ...asked.headers },
        body: asked.body ?? null,
        agent: this.#agent,
        // A redirect would carry the cap elsewhere.
        redirect: "manual",
        compress: false,
        signal: controller.signal,
      }),
      asked.timeoutMs,
    );
    const { stallTimeoutMs } = this.limits;
    async function* body(): AsyncGenerator<Uint8Array> {
      try {
        const chunks = reply.body?.[Symbol.asyncIterator]();
        while (chunks !== undefined) {
          const step = await waitFor(chunks.next(), stallTimeoutMs);
          if (step.done === true) break;
          yield typeof step.value === "string" ? Buffer.from(step.value) : step.value;
        }
      } finally {
        // Cuts the connection of a body that is left early, which stops the gateway's reading; a finished one is kept.
        close();
      }
    }
    return { status: reply.status, header: (name) => reply.headers.get(name) ?? undefined, body: body(), close };
  }
}

function boundedAgent(secure: boolean, limits: WebapiLimits): http.Agent {
  const { Agent } = secure ? https : http;
  const agent = new Agent({ keepAlive: true, maxSockets: limits.maxSockets, timeout: idleSocketMs });
  const connect = agent.createConnection.bind(agent);
  agent.createConnection = (options, callback): Duplex => {
    const socket = connect(options, callback) as Socket;
    const timer = setTimeout(() => socket.destroy(new ConnectTimeout()), limits.connectTimeoutMs);
    const stop = (): void => clearTimeout(timer);
    socket.once(secure ? "secureConnect" : "connect", stop).once("close", stop);
    return socket;
  };
  return agent;
}

class ConnectTimeout extends Error {
  readonly code = "ETIMEDOUT";
}
