// One HTTP exchange with a Tahoe gateway: bounded in time and sockets, and with errors that hold no cap.

import http from "node:http";
import https from "node:https";
import type { Readable } from "node:stream";
import { rootCertificates } from "node:tls";
import type { Response } from "node-fetch";
import fetch from "node-fetch";
import { onAbort } from "../../base/abort.ts";
import { maxTimerMs } from "../../base/clock.ts";
import { LimitExceeded, systemCodeOf } from "../../base/errors.ts";
import type { TreePath } from "../../base/names.ts";
import { rootPath } from "../../base/names.ts";
import { readAtMost } from "../../base/read-at-most.ts";
import { withResolvers } from "../../base/with-resolvers.ts";
import { StorageUnavailable } from "../tree.ts";
import { isUntrusted } from "./certificates.ts";
import type { LivenessLimits } from "./gateway-liveness.ts";
import { defaultLivenessLimits, GatewayLiveness } from "./gateway-liveness.ts";
import { observedBody, TransferRate } from "./transfer-rate.ts";
import { WebapiUrlError } from "./web-url.ts";

/** How long, and how much at once. No time is a total: each ends when something moves. */
export interface WebapiLimits extends LivenessLimits {
  /** Until a connection stands. */
  readonly connectTimeoutMs: number;
  /** Until the first byte of a file's bytes comes, waiting for a free socket included. */
  readonly firstByteTimeoutMs: number;
  /** The same for a listing, which Tahoe sends only when all of it is read: some 0.25 ms an entry. */
  readonly listingTimeoutMs: number;
  /** While a body is sent: until the gateway takes the next piece. */
  readonly sendTimeoutMs: number;
  /** Until a change is answered after its last byte was sent: Tahoe answers when all is stored. */
  readonly writeTimeoutMs: number;
  /** What an upload may take longer to be stored: Tahoe encodes and spreads it only when it has all of it. */
  readonly minStoreBytesPerSecond: number;
  /** Between two pieces of an answer's body, while somebody waits for them; and how long one may come too slowly. */
  readonly stallTimeoutMs: number;
  /** A body that comes more slowly than this is asked for anew. */
  readonly minBytesPerSecond: number;
  /** A file whose first byte has not come by then is asked for once more, beside, while the gateway answers others. */
  readonly hedgeAfterMs: number;
  /** The same for a listing, of which a large one takes long on any grid. */
  readonly hedgeListingAfterMs: number;
  /** How many such second requests may be under way at once. */
  readonly maxHedges: number;
  readonly maxSockets: number;
}

export const defaultWebapiLimits: WebapiLimits = {
  ...defaultLivenessLimits,
  connectTimeoutMs: 5_000,
  firstByteTimeoutMs: 20_000,
  listingTimeoutMs: 120_000,
  sendTimeoutMs: 120_000,
  writeTimeoutMs: 600_000,
  minStoreBytesPerSecond: 128 * 1024,
  stallTimeoutMs: 20_000,
  minBytesPerSecond: 1024,
  hedgeAfterMs: 5_000,
  hedgeListingAfterMs: 20_000,
  maxHedges: 4,
  maxSockets: 32,
};

/** After a gateway has recovered, what waits for it is sent again within this time, and not all in one moment. */
const recoverySpreadMs = 500;

/** How long a second request waits, in ms, for there to be few of them and for the gateway to answer at all. */
const hedgePauseMs = 1_000;

/** A file of a few bytes that its cap holds itself: a gateway reads nothing to send it. */
const literalFile = "URI:LIT:krugkidfnzsc4";

/** Twisted closes an idle connection after 60 s; ours must go first, or a request meets a closing one. */
const idleSocketMs = 30_000;

export interface WebapiRequest {
  readonly method: "GET" | "PUT" | "POST" | "DELETE";
  /** Below `/uri`, each not yet encoded. */
  readonly names: readonly string[];
  readonly query?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | AsyncIterable<Uint8Array>;
  /** Without an answer, counted from when the last byte of `body` was sent. */
  readonly timeoutMs: number;
  /** For what may be asked twice at once. Undefined: never. */
  readonly hedgeAfterMs?: number;
  /** What errors name. */
  readonly path: TreePath;
}

export interface WebapiResponse {
  readonly status: number;
  header(name: string): string | undefined;
  /** To be iterated at most once. @throws StorageUnavailable when it stalls or breaks off */
  readonly body: AsyncIterable<Uint8Array>;
  /** Ends an exchange whose body is not wanted. */
  close(): void;
}

/** A reply's whole body, within a fixed limit. @throws LimitExceeded, StorageUnavailable */
export async function textOf(
  response: WebapiResponse,
  limit: { readonly bytes: number; readonly what: string },
): Promise<string> {
  const bytes = await readAtMost(response.body, limit.bytes);
  if (bytes === undefined) throw new LimitExceeded(undefined, limit.bytes, limit.what);
  return bytes.toString("utf8");
}

/** One request under way. */
interface Attempt {
  readonly response: Promise<Response>;
  readonly isHedge: boolean;
  /** Ends it, also while its body comes. */
  end(): void;
}

/** A Tahoe gateway. */
export class Webapi {
  readonly limits: WebapiLimits;
  readonly #base: string;
  /** For messages: without a user, a password or a path. */
  readonly #origin: string;
  readonly #authorization: Readonly<Record<string, string>>;
  readonly #agent: http.Agent;
  /** For requests that must not wait for, or take, a connection that others have used; probes wait for nobody. */
  readonly #freshAgent: http.Agent;
  readonly #probeAgent: http.Agent;
  readonly #liveness: GatewayLiveness;
  #fallbacks: readonly Webapi[] = [];
  #hedges = 0;

  /**
   * @param url e.g. `http://127.0.0.1:3456`; may hold a user and password for a proxy before it
   * @param gatewayCa certificates, in PEM, that are trusted beside those that everybody trusts
   * @throws WebapiUrlError
   */
  constructor(url: string, limits: WebapiLimits = defaultWebapiLimits, gatewayCa?: string) {
    const parsed = URL.canParse(url) ? new URL(url) : undefined;
    if (parsed === undefined || !/^https?:$/.test(parsed.protocol) || /uri/i.test(parsed.pathname) || parsed.search) {
      throw new WebapiUrlError("a gateway's URL looks like http://127.0.0.1:3456 and holds no cap");
    }
    const user = `${decodeURIComponent(parsed.username)}:${decodeURIComponent(parsed.password)}`;
    this.#authorization = user === ":" ? {} : { Authorization: `Basic ${Buffer.from(user).toString("base64")}` };
    this.#origin = parsed.origin;
    this.#base = `${parsed.protocol}//${parsed.host}${parsed.pathname.replace(/\/+$/, "")}/uri`;
    this.limits = limits;
    const agents = agentsFor(parsed.protocol === "https:", limits, gatewayCa);
    this.#agent = agents.pooled;
    this.#freshAgent = agents.fresh;
    this.#probeAgent = agents.probing;
    this.#liveness = new GatewayLiveness((signal) => this.#probe(signal), limits);
    this.#liveness.onRecovery(() => closeIdleSockets(this.#agent));
  }

  /** Makes these stand in for each other: a second request for what one does not answer goes to another. */
  static setFallbacks(gateways: readonly Webapi[]): void {
    for (const gateway of gateways) gateway.#fallbacks = gateways.filter((other) => other !== gateway);
  }

  /** @throws StorageUnavailable if no answer comes; any status is an answer */
  async request(request: WebapiRequest, signal: AbortSignal): Promise<WebapiResponse> {
    signal.throwIfAborted();
    if (request.method === "GET" && this.#liveness.isUnresponsive) {
      throw new StorageUnavailable(request.path, `${this.#origin} does not answer`, { transient: true });
    }
    const { response, attempt } = await this.#firstResponse(request, signal);
    const header = (name: string): string | undefined => response.headers.get(name) ?? undefined;
    return {
      status: response.status,
      header,
      body: this.#body(response, attempt, request, signal),
      close: () => attempt.end(),
    };
  }

  /** The first answer of as many attempts as the waiting for it gives rise to. */
  #firstResponse(request: WebapiRequest, signal: AbortSignal): Promise<{ response: Response; attempt: Attempt }> {
    const { doubtAfterMs } = this.limits;
    const { promise, resolve, reject } = withResolvers<{ response: Response; attempt: Attempt }>();
    const attempts = new Set<Attempt>();
    const timers = new Set<NodeJS.Timeout>();
    const later = (ms: number, work: () => void): void => void timers.add(setTimeout(work, ms));
    let isOver = false;
    let forgetRecovery = (): unknown => undefined;
    let deadline: NodeJS.Timeout | undefined;

    const finish = (winner?: Attempt): void => {
      isOver = true;
      clearTimeout(deadline);
      for (const timer of timers) clearTimeout(timer);
      forgetRecovery();
      for (const attempt of attempts) if (attempt !== winner) attempt.end();
    };
    const fail = (why: string, transient = true): void => {
      finish();
      if (signal.aborted) reject(signal.reason);
      else reject(new StorageUnavailable(request.path, why, { transient }));
    };
    /** @param timeoutMs from now on; undefined: it is not the gateway that is waited for */
    const expectWithin = (timeoutMs: number | undefined): void => {
      clearTimeout(deadline);
      if (isOver || timeoutMs === undefined) return;
      const why = `${this.#origin} gave no answer within ${timeoutMs / 1000} s`;
      deadline = setTimeout(() => fail(why), timeoutMs);
    };
    const begin = (attempt: Attempt): void => {
      attempts.add(attempt);
      attempt.response.then(
        (response) => {
          if (isOver) {
            attempt.end();
            return;
          }
          finish(attempt);
          resolve({ response, attempt });
        },
        (thrown: unknown) => {
          attempt.end();
          attempts.delete(attempt);
          if (isOver || attempts.size > 0) return;
          const { why, transient } = connectionFailure(this.#origin, thrown);
          fail(why, transient);
        },
      );
    };
    const hedge = (): void => {
      if (isOver) return;
      // The one before went to a gateway that did not answer.
      for (const attempt of attempts) {
        if (!attempt.isHedge) continue;
        attempts.delete(attempt);
        attempt.end();
      }
      const fallback = this.#fallback();
      if (fallback === undefined) begin(this.#send(request, this.#freshAgent, signal, true));
      else begin(fallback.#send(request, fallback.#agent, signal, true));
    };

    const first = request.body === undefined ? undefined : this.#sendBody(request, request.body, expectWithin, signal);
    begin(first ?? this.#send(request, this.#agent, signal, false));
    if (first === undefined) expectWithin(request.timeoutMs);
    const { hedgeAfterMs } = request;
    if (hedgeAfterMs !== undefined) {
      later(doubtAfterMs, () => this.#liveness.check());
      const begunMs = performance.now();
      const hedgeOnce = (): void => {
        if (attempts.size > 1) return;
        const isTime = performance.now() - begunMs >= hedgeAfterMs && this.#hedges < this.limits.maxHedges;
        // To a gateway that does not answer anybody it would be one more request to be lost.
        if (this.#liveness.isChecking ? this.#liveness.hasFailedProbe && this.#fallback() !== undefined : isTime)
          hedge();
        else later(hedgePauseMs, hedgeOnce);
      };
      later(Math.min(hedgeAfterMs, 2 * doubtAfterMs), hedgeOnce);
      forgetRecovery = this.#liveness.onRecovery(() => later(Math.random() * recoverySpreadMs, hedge));
    }
    return promise;
  }

  /** Another gateway that is not known to be silent too. */
  #fallback(): Webapi | undefined {
    return this.#fallbacks.find((other) => !other.#liveness.hasFailedProbe);
  }

  #send(request: WebapiRequest, agent: http.Agent, signal: AbortSignal, isHedge: boolean, body?: Readable): Attempt {
    const controller = new AbortController();
    const forget = onAbort(signal, () => controller.abort());
    if (isHedge) this.#hedges += 1;
    let isOpen = true;
    const end = (): void => {
      if (isOpen && isHedge) this.#hedges -= 1;
      isOpen = false;
      forget();
      controller.abort();
    };
    const url = [this.#base, ...request.names.map(encodeURIComponent)].join("/");
    const length = request.body instanceof Uint8Array ? { "Content-Length": String(request.body.length) } : {};
    const response = fetch(request.query === undefined ? url : `${url}?${request.query}`, {
      method: request.method,
      headers: { "Accept-Encoding": "identity", ...this.#authorization, ...length, ...request.headers },
      body: body ?? null,
      agent,
      // A redirect would carry the cap elsewhere.
      redirect: "manual",
      compress: false,
      signal: controller.signal,
    });
    return { response, isHedge, end };
  }

  #sendBody(
    request: WebapiRequest,
    body: Uint8Array | AsyncIterable<Uint8Array>,
    expectWithin: (timeoutMs: number | undefined) => void,
    signal: AbortSignal,
  ): Attempt {
    const { sendTimeoutMs, minStoreBytesPerSecond } = this.limits;
    const watched = observedBody(body, {
      waiting(sentBytes, isWhole) {
        const storeMs = Math.ceil((sentBytes * 1000) / minStoreBytesPerSecond);
        expectWithin(isWhole ? Math.min(request.timeoutMs + storeMs, maxTimerMs) : sendTimeoutMs);
      },
      moved: () => expectWithin(undefined),
    });
    // A connection that is never made takes nothing.
    expectWithin(sendTimeoutMs);
    return this.#send(request, this.#agent, signal, false, watched);
  }

  async *#body(
    response: Response,
    attempt: Attempt,
    request: WebapiRequest,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    const { stallTimeoutMs, minBytesPerSecond, doubtAfterMs } = this.limits;
    const rate = new TransferRate(stallTimeoutMs, minBytesPerSecond);
    let sinceMs = performance.now();
    let isWaiting = false;
    let why: string | undefined;
    const giveUp = (reason: string): void => {
      why = reason;
      attempt.end();
    };
    const forget = this.#liveness.onRecovery(() => {
      const waitedMs = performance.now() - sinceMs;
      if (!isWaiting || rate.waitedMs(waitedMs) < recoverySpreadMs || !rate.isSlow(waitedMs)) return;
      giveUp(`the connection to ${this.#origin} went silent`);
    });
    try {
      const chunks = response.body?.[Symbol.asyncIterator]();
      while (chunks !== undefined) {
        const livenessTimer = setTimeout(() => this.#liveness.check(), doubtAfterMs);
        const stallTimer = setTimeout(
          () => giveUp(`${this.#origin} sent nothing for ${stallTimeoutMs / 1000} s`),
          stallTimeoutMs,
        );
        sinceMs = performance.now();
        isWaiting = true;
        try {
          const step = await chunks.next();
          if (step.done === true) break;
          const chunk = typeof step.value === "string" ? Buffer.from(step.value) : step.value;
          if (rate.add(chunk.length, performance.now() - sinceMs)) {
            giveUp(`${this.#origin} sent less than min_bytes_per_second = ${minBytesPerSecond}`);
            break;
          }
          if (rate.waitedMs(0) > doubtAfterMs && rate.isSlow(0)) this.#liveness.check();
          isWaiting = false;
          clearTimeout(livenessTimer);
          clearTimeout(stallTimer);
          yield chunk;
        } finally {
          isWaiting = false;
          clearTimeout(livenessTimer);
          clearTimeout(stallTimer);
        }
      }
    } catch (thrown) {
      signal.throwIfAborted();
      // node-fetch's errors hold the whole URL and so the cap: never passed on, not even as a cause.
      why ??= connectionFailure(this.#origin, thrown).why;
    } finally {
      forget();
      // Cuts the connection of a body that is left early, which stops the gateway's reading; a finished one is kept.
      attempt.end();
    }
    if (why !== undefined) throw new StorageUnavailable(request.path, why, { transient: true });
  }

  async #probe(signal: AbortSignal): Promise<boolean> {
    const request = { method: "GET", names: [literalFile], timeoutMs: 0, path: rootPath } as const;
    const attempt = this.#send(request, this.#probeAgent, signal, false);
    try {
      // Some gateways stop after their headers.
      await (await attempt.response).arrayBuffer();
      return true;
    } catch {
      return false;
    } finally {
      attempt.end();
    }
  }
}

/** What to say of a connection that failed: node-fetch's own message holds the whole URL and so the cap. */
function connectionFailure(origin: string, thrown: unknown): { readonly why: string; readonly transient: boolean } {
  const code = systemCodeOf(thrown);
  if (isUntrusted(code)) {
    return {
      why: `the certificate of ${origin} is not trusted (${code}): gateway_ca_file must name its authority's certificate`,
      transient: false,
    };
  }
  return { why: `the connection to ${origin} failed (${code ?? "broken off"})`, transient: true };
}

function agentsFor(secure: boolean, limits: WebapiLimits, gatewayCa: string | undefined) {
  const trusted = gatewayCa === undefined ? {} : { ca: [...rootCertificates, gatewayCa] };
  const { Agent } = secure ? https : http;
  const options = { maxSockets: limits.maxSockets, ...(secure && trusted) };
  return {
    pooled: bounded(new Agent({ ...options, keepAlive: true, timeout: idleSocketMs }), secure, limits),
    fresh: bounded(new Agent({ ...options, keepAlive: false }), secure, limits),
    probing: bounded(new Agent({ ...options, keepAlive: false }), secure, limits),
  };
}

function bounded(agent: http.Agent, secure: boolean, limits: WebapiLimits): http.Agent {
  const connect = agent.createConnection.bind(agent);
  agent.createConnection = (options, callback) => {
    const socket = connect(options, callback);
    const timer = setTimeout(() => socket?.destroy(new ConnectTimeout()), limits.connectTimeoutMs);
    const stallTimer = (): void => clearTimeout(timer);
    socket?.once(secure ? "secureConnect" : "connect", stallTimer).once("close", stallTimer);
    return socket;
  };
  return agent;
}

/** Those of before may be dead without anybody having said so. */
function closeIdleSockets(agent: http.Agent): void {
  for (const socket of Object.values(agent.freeSockets).flat()) socket?.destroy();
}

class ConnectTimeout extends Error {
  readonly code = "ETIMEDOUT";
}
