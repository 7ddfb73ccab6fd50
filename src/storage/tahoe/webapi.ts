// HTTP requests to a Tahoe gateway, with limits on time and sockets, and with errors that contain no caps.

import http from "node:http";
import https from "node:https";
import type { Readable } from "node:stream";
import { rootCertificates } from "node:tls";
import type { RequestInfo, RequestInit, Response } from "node-fetch";
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

let nodeFetch: Promise<typeof import("node-fetch")> | undefined;

/** Loads node-fetch with the first request: a start need not wait for it, and a server of a folder never needs it. */
async function fetch(url: RequestInfo, options: RequestInit): Promise<Response> {
  nodeFetch ??= import("node-fetch");
  const { default: send } = await nodeFetch;
  return await send(url, options);
}

/** Timeouts and limits. No timeout is for a total duration: progress resets them. */
export interface WebapiLimits extends LivenessLimits {
  /** Until a connection is established. */
  readonly connectTimeoutMs: number;
  /** Until the first byte of a file is received, including the wait for a free socket. */
  readonly firstByteTimeoutMs: number;
  /** The same for a listing, which Tahoe sends only after it has read all of it (about 0.25 ms for each entry). */
  readonly listingTimeoutMs: number;
  /** While a body is sent: until the gateway accepts the next slice. */
  readonly sendTimeoutMs: number;
  /** Between the last byte of a change and the response, which Tahoe sends when everything is stored. */
  readonly writeTimeoutMs: number;
  /**
   * Extends `writeTimeoutMs` for large uploads, which Tahoe encodes and distributes after it has received all bytes.
   */
  readonly minStoreBytesPerSecond: number;
  /** Between two chunks of a response, while the consumer waits; also the period over which the rate is measured. */
  readonly stallTimeoutMs: number;
  /** A response slower than this is requested again. */
  readonly minBytesPerSecond: number;
  /** After this time without the first byte of a file, a second (hedged) request is sent if the gateway is alive. */
  readonly hedgeAfterMs: number;
  /** The same for a listing; large ones take long on any grid. */
  readonly hedgeListingAfterMs: number;
  /** The number of concurrent hedged requests. */
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

/** After a gateway has recovered, waiting requests are sent again at random times within this period. */
const recoverySpreadMs = 500;

/** A reason to abort a request. Without one, each `abort` makes an error with a stack trace, which takes a while. */
const hasEnded = new Error("the request has ended");

/** How often, in ms, a delayed hedged request checks whether it may be sent. */
const hedgePauseMs = 1_000;

/** A literal cap, which contains its file: a gateway responds without reading anything. */
const literalFile = "URI:LIT:krugkidfnzsc4";

/** Twisted closes idle connections after 60 s. Ours are closed before, so that no request uses a closing one. */
const idleSocketMs = 30_000;

/** A request to the webapi. */
export interface WebapiRequest {
  readonly method: "GET" | "PUT" | "POST" | "DELETE";
  /** The path segments below `/uri`, not encoded. */
  readonly names: readonly string[];
  readonly query?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | AsyncIterable<Uint8Array>;
  /** The maximum time between the last byte of `body` and the response. */
  readonly timeoutMs: number;
  /** For requests that may be sent twice concurrently; undefined otherwise. */
  readonly hedgeAfterMs?: number;
  /** The path for error messages. */
  readonly path: TreePath;
}

/** The response of a gateway, with any status. */
export interface WebapiResponse {
  readonly status: number;
  header(name: string): string | undefined;
  /** Iterate it at most once. @throws StorageUnavailable if it stalls or breaks */
  readonly body: AsyncIterable<Uint8Array>;
  /** Ends the response if the body is not needed. */
  close(): void;
}

/** Reads the whole body of a response as text, within a limit. @throws LimitExceeded, StorageUnavailable */
export async function textOf(
  response: WebapiResponse,
  limit: { readonly bytes: number; readonly what: string },
): Promise<string> {
  const bytes = await readAtMost(response.body, limit.bytes);
  if (bytes === undefined) throw new LimitExceeded(undefined, limit.bytes, limit.what);
  return bytes.toString("utf8");
}

/** One running HTTP request. */
interface Attempt {
  readonly response: Promise<Response>;
  readonly isHedge: boolean;
  /** Ends it, also while its body is received. */
  end(): void;
}

/** The webapi of one Tahoe gateway. */
export class Webapi {
  readonly limits: WebapiLimits;
  readonly #base: string;
  /** For messages: without user, password and path. */
  readonly #origin: string;
  readonly #authorization: Readonly<Record<string, string>>;
  readonly #agent: http.Agent;
  /** New connections for hedged requests; and for probes, which must not wait for other requests. */
  readonly #freshAgent: http.Agent;
  readonly #probeAgent: http.Agent;
  readonly #liveness: GatewayLiveness;
  #fallbacks: readonly Webapi[] = [];
  #hedges = 0;

  /**
   * @param url e.g. `http://127.0.0.1:3456`; may contain user and password for a proxy
   * @param gatewayCa additional trusted certificates, in PEM
   * @throws WebapiUrlError
   */
  constructor(url: string, limits: WebapiLimits = defaultWebapiLimits, gatewayCa?: string) {
    const parsed = URL.canParse(url) ? new URL(url) : undefined;
    if (parsed === undefined || !/^https?:$/.test(parsed.protocol) || /uri/i.test(parsed.pathname) || parsed.search) {
      throw new WebapiUrlError("a gateway's URL looks like http://127.0.0.1:3456 and contains no cap");
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

  /** Makes gateways fallbacks of each other: hedged requests go to another gateway. */
  static setFallbacks(gateways: readonly Webapi[]): void {
    for (const gateway of gateways) gateway.#fallbacks = gateways.filter((other) => other !== gateway);
  }

  /** Sends a request. @throws StorageUnavailable if there is no response; any status is a response */
  async request(request: WebapiRequest, signal: AbortSignal): Promise<WebapiResponse> {
    signal.throwIfAborted();
    if (request.method === "GET" && this.#liveness.isUnresponsive) {
      throw new StorageUnavailable(request.path, `${this.#origin} does not respond`, { transient: true });
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

  /** Returns the first response of the request and its hedged requests. */
  #firstResponse(request: WebapiRequest, signal: AbortSignal): Promise<{ response: Response; attempt: Attempt }> {
    const { doubtAfterMs } = this.limits;
    const { promise, resolve, reject } = withResolvers<{ response: Response; attempt: Attempt }>();
    const attempts = new Set<Attempt>();
    const timers = new Set<NodeJS.Timeout>();
    const after = (ms: number, work: () => void): void => void timers.add(setTimeout(work, ms));
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
    /** @param timeoutMs from now on; undefined while the request does not wait for the gateway */
    const setDeadline = (timeoutMs: number | undefined): void => {
      clearTimeout(deadline);
      if (isOver || timeoutMs === undefined) return;
      const why = `${this.#origin} did not respond within ${timeoutMs / 1000} s`;
      deadline = setTimeout(() => fail(why), timeoutMs);
    };
    const start = (attempt: Attempt): void => {
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
      // A previous hedged request went to a gateway that did not respond.
      for (const attempt of attempts) {
        if (!attempt.isHedge) continue;
        attempts.delete(attempt);
        attempt.end();
      }
      const fallback = this.#fallback();
      if (fallback === undefined) start(this.#send(request, this.#freshAgent, signal, true));
      else start(fallback.#send(request, fallback.#agent, signal, true));
    };

    const first = request.body === undefined ? undefined : this.#sendBody(request, request.body, setDeadline, signal);
    start(first ?? this.#send(request, this.#agent, signal, false));
    if (first === undefined) setDeadline(request.timeoutMs);
    const { hedgeAfterMs } = request;
    if (hedgeAfterMs !== undefined) {
      after(doubtAfterMs, () => this.#liveness.check());
      const startedMs = performance.now();
      const hedgeOnce = (): void => {
        if (attempts.size > 1) return;
        const isTime = performance.now() - startedMs >= hedgeAfterMs && this.#hedges < this.limits.maxHedges;
        // A gateway that does not respond at all would not respond to a hedged request either.
        if (this.#liveness.isChecking ? this.#liveness.hasFailedProbe && this.#fallback() !== undefined : isTime)
          hedge();
        else after(hedgePauseMs, hedgeOnce);
      };
      after(Math.min(hedgeAfterMs, 2 * doubtAfterMs), hedgeOnce);
      forgetRecovery = this.#liveness.onRecovery(() => after(Math.random() * recoverySpreadMs, hedge));
    }
    return promise;
  }

  /** Another gateway whose last probe did not fail. */
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
      controller.abort(hasEnded);
    };
    const url = [this.#base, ...request.names.map(encodeURIComponent)].join("/");
    const length = request.body instanceof Uint8Array ? { "Content-Length": String(request.body.length) } : {};
    const response = fetch(request.query === undefined ? url : `${url}?${request.query}`, {
      method: request.method,
      headers: { "Accept-Encoding": "identity", ...this.#authorization, ...length, ...request.headers },
      body: body ?? null,
      agent,
      // A redirect would send the cap to another server.
      redirect: "manual",
      compress: false,
      signal: controller.signal,
    });
    return { response, isHedge, end };
  }

  #sendBody(
    request: WebapiRequest,
    body: Uint8Array | AsyncIterable<Uint8Array>,
    setDeadline: (timeoutMs: number | undefined) => void,
    signal: AbortSignal,
  ): Attempt {
    const { sendTimeoutMs, minStoreBytesPerSecond } = this.limits;
    const observed = observedBody(body, {
      waiting(sentBytes, isWhole) {
        const storeMs = Math.ceil((sentBytes * 1000) / minStoreBytesPerSecond);
        setDeadline(isWhole ? Math.min(request.timeoutMs + storeMs, maxTimerMs) : sendTimeoutMs);
      },
      sourceReading: () => setDeadline(undefined),
    });
    // The deadline applies before a connection is established, too.
    setDeadline(sendTimeoutMs);
    return this.#send(request, this.#agent, signal, false, observed);
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
      giveUp(`the connection to ${this.#origin} stalled`);
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
      // Errors of node-fetch contain the URL and so the cap: they must not be passed on, not even as a cause.
      why ??= connectionFailure(this.#origin, thrown).why;
    } finally {
      forget();
      // Closes the connection if the body was not read to its end, which also stops the gateway's reads.
      attempt.end();
    }
    if (why !== undefined) throw new StorageUnavailable(request.path, why, { transient: true });
  }

  async #probe(signal: AbortSignal): Promise<boolean> {
    const request = { method: "GET", names: [literalFile], timeoutMs: 0, path: rootPath } as const;
    const attempt = this.#send(request, this.#probeAgent, signal, false);
    try {
      // Read the body too, because some faulty gateways send only headers.
      await (await attempt.response).arrayBuffer();
      return true;
    } catch {
      return false;
    } finally {
      attempt.end();
    }
  }
}

/** Describes a failed connection. The message of node-fetch is not used, because it contains the URL and so the cap. */
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

/** Closes idle connections, which may be dead after an outage. */
function closeIdleSockets(agent: http.Agent): void {
  for (const socket of Object.values(agent.freeSockets).flat()) socket?.destroy();
}

class ConnectTimeout extends Error {
  readonly code = "ETIMEDOUT";
}
