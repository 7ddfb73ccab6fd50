// POST /-/ping/NAME[/PATH]: a builder requests that a path is looked at again, and may wait until the result is servable.
import type Koa from "koa";
import { codeOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { TreePath } from "../base/names.ts";
import { isWithin, NameError, parseTreePath } from "../base/names.ts";
import { redact } from "../base/redact.ts";
import type { Secret } from "../base/secret.ts";
import { publicSuiteName } from "../publishing/live/flat-names.ts";
import type { PingOutcome, ServedRepository } from "../publishing/served-repository.ts";
import { combined } from "../publishing/served-repository.ts";
import { bearerOf } from "./credentials.ts";
import { HttpError } from "./error-responses.ts";
import { setJsonBody } from "./json-body.ts";
import type { ClientCounter } from "./rate-limiter.ts";
import { RateLimiterRes } from "./rate-limiter.ts";
import type { HttpRequestContext } from "./request-context.ts";

/** A token with which one directory of a repository, and everything below it, can be pinged. */
export interface PingToken {
  readonly token: Secret;
  readonly scope: TreePath;
}

export interface PingLimits {
  /** For each token. */
  readonly pingsPerMinute: number;
  /** The maximum wait; longer ones are shortened to it. */
  readonly maxWaitSeconds: number;
}

export const defaultPingLimits: PingLimits = { pingsPerMinute: 120, maxWaitSeconds: 300 };

/** The idle timeout of the connection is longer by this than the wait of the ping. */
const waitMarginMs = 10_000;

/** Handles the pings of one repository. */
export class PingHandler {
  readonly #repository: ServedRepository;
  readonly #tokens: () => readonly PingToken[];
  readonly #limits: PingLimits;
  readonly #log: Log;
  readonly #rate: ClientCounter;

  /**
   * @param tokens returns the tokens that are valid now; called for each ping
   * @param options.rate counts the pings of each token
   */
  constructor(
    repository: ServedRepository,
    tokens: () => readonly PingToken[],
    { limits, rate, log }: { readonly limits: PingLimits; readonly rate: ClientCounter; readonly log: Log },
  ) {
    this.#repository = repository;
    this.#tokens = tokens;
    this.#limits = limits;
    this.#log = log;
    this.#rate = rate;
  }

  /** @param rawPath decoded and normalised @throws HttpError, StorageUnavailable */
  async answer(
    ctx: Koa.Context,
    rawPath: string,
    query: URLSearchParams,
    { id, signal }: Pick<HttpRequestContext, "id" | "signal">,
  ): Promise<void> {
    const granted = this.#granted(ctx.get("Authorization"));
    const spellings = pathVariants(rawPath).filter((path) => granted.some(({ scope }) => isWithin(path, scope)));
    const token = granted.find(({ scope }) => spellings.some((path) => isWithin(path, scope)));
    if (token === undefined) {
      throw new HttpError("request/forbidden", "this token is for another directory");
    }
    const waitMs = this.#waitMsOf(query);
    await this.#count(token);
    if (waitMs === 0) {
      for (const path of spellings) await this.#pingUnattended(path, id);
      accept(ctx);
      return;
    }
    ctx.req.setTimeout(waitMs + waitMarginMs);
    const patience = AbortSignal.timeout(waitMs);
    try {
      const asked = AbortSignal.any([signal, patience]);
      const outcomes = await Promise.all(spellings.map((path) => this.#repository.ping(path, asked)));
      setJsonBody(ctx, { status: "servable", ...responseFields(combined(outcomes)) });
    } catch (thrown) {
      if (!patience.aborted) throw thrown;
      accept(ctx);
    }
  }

  /**
   * Sends what a token gives access to, so that a client can check an upload before it changes anything.
   * @throws HttpError 401 for an unknown token, 429 beyond the rate of pings
   */
  async describe(ctx: Koa.Context): Promise<void> {
    const granted = this.#granted(ctx.get("Authorization"));
    const [first] = granted;
    if (first !== undefined) await this.#count(first);
    const status = this.#repository.status();
    const suites = status.suites.map(({ suite, codename }) => ({ suite, codename }));
    setJsonBody(ctx, {
      repository: this.#repository.name,
      directories: granted.map(({ scope }) => scope),
      suites,
      suitesWithSlash: status.suitesWithSlash ?? [],
    });
  }

  /** @throws ValkeyUnavailable */
  async #pingUnattended(path: TreePath, requestId: string): Promise<void> {
    const requested = this.#repository.requestRefresh?.(path);
    if (requested !== undefined) return await requested;
    const repository = this.#repository.name;
    this.#repository.ping(path, new AbortController().signal).catch((thrown: unknown) => {
      // This is logged once for the whole tree.
      if (codeOf(thrown) === "storage/unavailable") return;
      this.#log.warn({ requestId, repository, path, err: thrown }, "ping failed");
    });
  }

  #granted(authorization: string): readonly PingToken[] {
    const bearer = bearerOf(authorization);
    const granted = bearer === undefined ? [] : this.#tokens().filter(({ token }) => token.equals(bearer));
    if (granted.length > 0) return granted;
    const challenge = `Bearer realm="ping"${bearer === undefined ? "" : ', error="invalid_token"'}`;
    const text = bearer === undefined ? "a ping requires a Bearer token" : "this token is not known here";
    throw new HttpError("request/unauthorized", text, { "WWW-Authenticate": challenge });
  }

  #waitMsOf(query: URLSearchParams): number {
    const raw = query.get("wait");
    if (raw === null) return 0;
    if (!/^\d{1,9}(\.\d{1,3})?$/.test(raw)) {
      throw new HttpError("request/malformed", "wait is a number of seconds");
    }
    // Timers need whole milliseconds, and 16.1 * 1000 is not an integer.
    return Math.min(Math.round(Number(raw) * 1000), this.#limits.maxWaitSeconds * 1000);
  }

  async #count({ token, scope }: PingToken): Promise<void> {
    try {
      await this.#rate.consume(`${token.toString()} ${scope}`);
    } catch (thrown) {
      if (!(thrown instanceof RateLimiterRes)) throw thrown;
      const seconds = Math.max(1, Math.ceil(thrown.msBeforeNext / 1000));
      const text = `more than ${this.#limits.pingsPerMinute} pings a minute`;
      throw new HttpError("request/rate", text, { "Retry-After": String(seconds) });
    }
  }
}

function accept(ctx: Koa.Context): void {
  ctx.status = 202;
  setJsonBody(ctx, { status: "accepted" });
}

// Copied field by field: this is a public interface, and the outcome may get more fields.
const responseFields = ({ publications, added, removed, rejected, pending, notices }: PingOutcome) => ({
  publications: publications.map(({ suite, at, id, dateSeconds, rolledBackTo }) => ({
    suite: publicSuiteName({ suite, ...(at !== undefined && { at }) }),
    id,
    dateSeconds,
    rolledBackTo,
  })),
  added,
  removed,
  rejected: rejected.map(({ path, code, reason }) => ({ path, code, reason: redact(reason) })),
  pending: pending.map(({ path, missing, inspecting }) => ({ path, missing, inspecting })),
  notices: notices.map(redact),
});

/**
 * The path as written and, if different, in Unicode normalisation form C: Tahoe normalises all names to NFC, a folder does
 * not.
 */
const pathVariants = (rawPath: string): readonly TreePath[] =>
  [...new Set([rawPath, rawPath.normalize("NFC")])].map(treePathOf);

function treePathOf(raw: string): TreePath {
  try {
    return parseTreePath(raw);
  } catch (thrown) {
    if (!(thrown instanceof NameError)) throw thrown;
    throw new HttpError("request/malformed", thrown.message);
  }
}
