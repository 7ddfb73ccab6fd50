// Koa routes for everything but repository files: pings, metrics, health, and the routes that other folders add.
import type { IncomingMessage, ServerResponse } from "node:http";
import Router from "@koa/router";
import Koa from "koa";
import helmet from "koa-helmet";
import type { Log } from "../base/log.ts";
import type { RepositoryName } from "../base/names.ts";
import type { Secret } from "../base/secret.ts";
import type { ServedRepository } from "../publishing/served-repository.ts";
import type { BasicAuth } from "./basic-auth.ts";
import { clientScheme } from "./client-address.ts";
import { bearerOf } from "./credentials.ts";
import { HttpError, methodNotAllowed } from "./error-responses.ts";
import { isCostly } from "./page-paths.ts";
import { PageQueue } from "./page-queue.ts";
import type { PingLimits, PingToken } from "./ping-endpoint.ts";
import { PingHandler } from "./ping-endpoint.ts";
import { withoutPrivate } from "./public-metrics.ts";
import type { ClientCounter } from "./rate-limiter.ts";
import type { HttpRequestContext } from "./request-context.ts";
import { newRequestId } from "./request-id.ts";
import type { RequestPath } from "./request-path.ts";
import type { Audience } from "./send-resource.ts";

/** Renders the response of `/metrics`. */
export interface MetricsPage {
  readonly contentType: string;
  render(): Promise<string>;
}

export interface RoutesOptions {
  readonly repositories: ReadonlyMap<RepositoryName, ServedRepository>;
  /** The ping tokens of each repository. A repository without an entry rejects all pings. */
  readonly tokens: ReadonlyMap<RepositoryName, () => readonly PingToken[]>;
  readonly pingLimits: PingLimits;
  /** Returns the limiter that counts the pings of each token of a repository. */
  readonly pingRateOf: (name: RepositoryName) => ClientCounter;
  /** @returns why clients should use other servers of the fleet. Undefined: this is the only one. */
  readonly fleetNotReady?: () => string | undefined;
  /** The Bearer token that `/metrics` requires; undefined: none. */
  readonly metricsToken?: Secret | undefined;
  /** The URL under which clients reach this server, without a trailing slash; undefined: taken from the Host header. */
  readonly publicUrl?: string | undefined;
  /** Whether requests come from a trusted proxy, which sets X-Forwarded-Proto and appends the client to X-Forwarded-For. */
  readonly behindProxy?: boolean;
  readonly metrics: MetricsPage;
  /**
   * Loads further routes, when a request comes that no other route answers: a start need not wait for them. None by
   * default.
   */
  readonly furtherRoutes?: () => Promise<readonly AddRoutes[]>;
  readonly log: Log;
}

/** The state of a request that `createApp` has parsed. */
export type RouteState = { context: HttpRequestContext };
type State = RouteState;

/** Who may read a repository, and where it is. */
export interface RouteAccess {
  isPrivate(repository: RepositoryName): boolean;
  /**
   * For routes outside of `/NAME/`: returns if the request may read this repository.
   * @throws HttpError 401 or 429
   */
  admit(repository: RepositoryName, request: IncomingMessage): Promise<void>;
  /** Returns the URL of the server for this client, without a trailing slash. */
  originOf(ctx: Koa.ParameterizedContext): string;
}

/** Adds further routes. */
export type AddRoutes = (router: Router<RouteState>, access: RouteAccess) => void;

/** A request that `createApp` has parsed and authenticated. */
interface Received {
  readonly context: HttpRequestContext;
  readonly audience: Audience;
  /** Sends the error response for an error that a route threw. */
  readonly fail: (thrown: unknown) => void;
}

/** Passes a request to the routes. */
export type Routes = (request: IncomingMessage, response: ServerResponse, received: Received) => void;

export function createRoutes(options: RoutesOptions, basicAuth: BasicAuth): Routes {
  const app = new Koa<State>();
  // Koa would print whole errors, with caps; `fail` logs them without.
  app.silent = true;
  const pages = new PageQueue();
  // Koa's callback takes no further argument.
  const underWay = new WeakMap<IncomingMessage, Received>();

  app.use(async (ctx, next) => {
    const received = underWay.get(ctx.req);
    if (received === undefined) throw new Error("the request did not come from createApp");
    const { context, audience, fail } = received;
    try {
      ctx.state.context = context;
      // The router matches the normalised path.
      ctx.path = encodePath(context.path());
      const { mount, rest } = context.path();
      if (isCostly(mount, rest)) await pages.run(next, () => context.signal);
      else await next();
      if (audience === "private") ctx.set("Cache-Control", "private, no-cache");
      // A route that has set a body has answered, whatever the status.
      if (ctx.body !== undefined && ctx.body !== null) return;
      if (ctx.status === 405) throw methodNotAllowed(ctx.method, ctx.response.get("Allow"));
      if (ctx.status === 501)
        throw new HttpError("request/not-implemented", `the method ${ctx.method} is not implemented`);
      if (ctx.status === 404) throw new HttpError("request/not-found", "there is no such page");
    } catch (thrown) {
      ctx.respond = false;
      fail(thrown);
    }
  });
  app.use(
    helmet({
      // A proxy that terminates TLS sets this header itself.
      strictTransportSecurity: false,
      contentSecurityPolicy: {
        useDefaults: false,
        directives: { "default-src": ["'none'"], "frame-ancestors": ["'none'"] },
      },
    }),
  );
  const access = accessOf(options, basicAuth, (request) => underWay.get(request)?.context.id ?? newRequestId());
  app.use(answeredBy(ownRoutes(options, basicAuth)));
  const { furtherRoutes } = options;
  let further: Promise<Router<State>> | undefined;
  if (furtherRoutes !== undefined) {
    app.use(async (ctx, next) => {
      further ??= furtherRoutes().then((adders) => routerWith(adders, access));
      await answeredBy(await further)(ctx, next);
    });
  }
  const answer = app.callback();
  return (request, response, received) => {
    underWay.set(request, received);
    void answer(request, response);
  };
}

function encodePath({ mount, rest, trailingSlash }: RequestPath): string {
  const names = rest === "" ? [mount] : [mount, ...rest.split("/")];
  return `/${names.map(encodeURIComponent).join("/")}${trailingSlash && mount !== "" ? "/" : ""}`;
}

function answeredBy(router: Router<State>): Koa.Middleware<State> {
  const routes = router.routes() as Koa.Middleware<State>;
  const methods = router.allowedMethods() as Koa.Middleware<State>;
  return async (ctx, next) => {
    await routes(ctx, async () => {
      await methods(ctx, next);
    });
  };
}

const newRouter = (): Router<State> => new Router<State>({ strict: true, sensitive: true });

function routerWith(adders: readonly AddRoutes[], access: RouteAccess): Router<State> {
  const router = newRouter();
  for (const add of adders) add(router, access);
  return router;
}

/** @param idOf returns the id of a request */
function accessOf(
  { publicUrl, behindProxy = false }: RoutesOptions,
  readers: BasicAuth,
  idOf: (request: IncomingMessage) => string,
): RouteAccess {
  return {
    isPrivate: (name) => readers.isPrivate(name),
    admit: (name, request) => readers.admit(name, request, idOf(request)),
    originOf: (ctx) => publicUrl ?? originOf(ctx, behindProxy),
  };
}

function ownRoutes(options: RoutesOptions, readers: BasicAuth): Router<State> {
  const { repositories, tokens, metrics, metricsToken, log } = options;
  const router = newRouter();

  const privateNames = new Set([...repositories.keys()].filter((name) => readers.isPrivate(name)));

  router.get("/healthz", (ctx) => {
    ctx.body = "alive\n";
  });
  router.get("/readyz", (ctx) => {
    const waiting = [...repositories.values()].flatMap((repository) => {
      const { notReady } = repository;
      return notReady === undefined ? [] : [{ name: repository.name, notReady }];
    });
    // This page needs no password, so it must not reveal the names of private repositories.
    const open = waiting.filter(({ name }) => !readers.isPrivate(name));
    const reasons = open.map(({ name, notReady }) => `${name}: ${notReady}`);
    const hidden = waiting.length - open.length;
    if (hidden > 0) reasons.push(`${hidden} private ${hidden === 1 ? "repository" : "repositories"}`);
    const unsure = options.fleetNotReady?.();
    if (unsure !== undefined) reasons.push(unsure);
    if (reasons.length > 0) throw new HttpError("server/not-ready", reasons.join("; "));
    ctx.body = "ready\n";
  });
  router.get("/metrics", async (ctx) => {
    if (metricsToken !== undefined && !metricsToken.equals(bearerOf(ctx.get("Authorization")) ?? "")) {
      const headers = { "WWW-Authenticate": 'Bearer realm="metrics"' };
      throw new HttpError("request/unauthorized", "the metrics require a Bearer token", headers);
    }
    const all = await metrics.render();
    // Without a token anybody can read this, so it must not reveal private repositories.
    ctx.body = metricsToken === undefined ? withoutPrivate(all, privateNames) : all;
    ctx.set("Content-Type", metrics.contentType);
  });

  for (const [name, repository] of repositories) {
    const pingHandler = new PingHandler(repository, tokens.get(name) ?? (() => []), {
      limits: options.pingLimits,
      rate: options.pingRateOf(name),
      log,
    });
    router.post([`/-/ping/${name}`, `/-/ping/${name}/{*path}`], async (ctx) => {
      const { context } = ctx.state;
      const { rest, query } = context.path();
      await pingHandler.answer(ctx, rest.split("/").slice(2).join("/"), new URLSearchParams(query), context);
    });
    router.get(`/-/ping/${name}`, (ctx) => pingHandler.describe(ctx));
  }
  return router;
}

/**
 * Uses the Host header and not X-Forwarded-Host: a proxy that keeps the host passes on that of the client.
 * @throws HttpError for a Host header that could inject text into a page or a .sources file
 */
function originOf(ctx: Koa.ParameterizedContext, behindProxy: boolean): string {
  const { localAddress = "localhost", localPort = 80 } = ctx.req.socket;
  const host = ctx.get("Host") || `${localAddress.includes(":") ? `[${localAddress}]` : localAddress}:${localPort}`;
  if (!/^([a-z0-9._-]+|\[[0-9a-f:.]+\])(:\d{1,5})?$/i.test(host)) {
    throw new HttpError("request/malformed", "the Host header is not a host");
  }
  return `${clientScheme(ctx.headers, behindProxy)}://${host}`;
}
