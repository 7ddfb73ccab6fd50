// What is no file of a repository: its keys and pages, pings, metrics and health, each with a route of its own.
import type { IncomingMessage, ServerResponse } from "node:http";
import Router from "@koa/router";
import Koa from "koa";
import helmet from "koa-helmet";
import type { Log } from "../base/log.ts";
import type { RepositoryName } from "../base/names.ts";
import type { Secret } from "../base/secret.ts";
import type { ServedRepository } from "../publishing/served-repository.ts";
import type { BasicAuth } from "./basic-auth.ts";
import { bearerOf } from "./credentials.ts";
import { HttpError, methodNotAllowed } from "./error-responses.ts";
import { renderList } from "./html-pages.ts";
import type { PingLimits, PingToken } from "./ping-endpoint.ts";
import { PingHandler } from "./ping-endpoint.ts";
import { withoutPrivate } from "./public-metrics.ts";
import { addGettingStarted } from "./repository-pages.ts";
import type { HttpRequestContext } from "./request-context.ts";
import type { RequestPath } from "./request-path.ts";
import type { Audience } from "./send-resource.ts";

/** What `/metrics` shows. */
export interface MetricsPage {
  readonly contentType: string;
  render(): Promise<string>;
}

export interface RoutesOptions {
  readonly repositories: ReadonlyMap<RepositoryName, ServedRepository>;
  /** A repository that is not here can't be pinged. */
  readonly tokens: ReadonlyMap<RepositoryName, () => readonly PingToken[]>;
  readonly pingLimits: PingLimits;
  /** What asks for metrics must bear it, if there is one. */
  readonly metricsToken?: Secret | undefined;
  /** Where clients reach us, without a trailing slash; undefined: as the Host header says. */
  readonly publicUrl?: string | undefined;
  readonly metrics: MetricsPage;
  readonly log: Log;
}

type State = { asker: HttpRequestContext };

/** A request that was looked at already. */
interface Received {
  readonly asker: HttpRequestContext;
  readonly audience: Audience;
  /** Answers in place of a route that threw. */
  readonly fail: (thrown: unknown) => void;
}

/** Answers by the routes. */
export type Routes = (request: IncomingMessage, response: ServerResponse, received: Received) => void;

export function createRoutes(options: RoutesOptions, desk: BasicAuth): Routes {
  const app = new Koa<State>();
  // Koa's own reporter prints whole errors; what matters is logged by `fail`, without caps.
  app.silent = true;
  const underWay = new WeakMap<IncomingMessage, Received>();

  app.use(async (ctx, next) => {
    const received = underWay.get(ctx.req);
    if (received === undefined) throw new Error("a request came to the routes by another way");
    const { asker, audience, fail } = received;
    try {
      ctx.state.asker = asker;
      // What the router matches is the path as normalised here, encoded again.
      ctx.path = encodePath(asker.path());
      await next();
      if (audience === "private") ctx.set("Cache-Control", "private, no-cache");
      if (ctx.status === 405) throw methodNotAllowed(ctx.method, ctx.response.get("Allow"));
      if (ctx.status === 501) throw new HttpError("request/not-implemented", `${ctx.method} is not known here`);
      if (ctx.status === 404) throw new HttpError("request/not-found", "nothing is here");
    } catch (thrown) {
      ctx.respond = false;
      fail(thrown);
    }
  });
  app.use(
    helmet({
      // Whether there is TLS in front of us is its business.
      strictTransportSecurity: false,
      contentSecurityPolicy: {
        useDefaults: false,
        directives: { "default-src": ["'none'"], "style-src": ["'unsafe-inline'"], "frame-ancestors": ["'none'"] },
      },
    }),
  );
  const router = routerOf(options, desk);
  app.use(router.routes());
  app.use(router.allowedMethods());
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

function routerOf(options: RoutesOptions, readers: BasicAuth): Router<State> {
  const { repositories, tokens, metrics, metricsToken, log } = options;
  const router = new Router<State>({ strict: true, sensitive: true });

  const privateNames = new Set([...repositories.keys()].filter((name) => readers.isPrivate(name)));

  router.get("/", (ctx) => {
    ctx.type = "html";
    ctx.body = renderList([...repositories.keys()].filter((name) => !privateNames.has(name)));
  });
  router.get("/healthz", (ctx) => {
    ctx.body = "alive\n";
  });
  router.get("/readyz", (ctx) => {
    const waiting = [...repositories.values()].filter((repository) => repository.status().notReady !== undefined);
    // Whoever asks is a stranger: of a private repository not even the name is told.
    const open = waiting.filter(({ name }) => !readers.isPrivate(name));
    const reasons = open.map((repository) => `${repository.name}: ${repository.status().notReady}`);
    const hidden = waiting.length - open.length;
    if (hidden > 0) reasons.push(`${hidden} private ${hidden === 1 ? "repository" : "repositories"}`);
    if (reasons.length > 0) throw new HttpError("server/not-ready", reasons.join("; "));
    ctx.body = "ready\n";
  });
  router.get("/metrics", async (ctx) => {
    if (metricsToken !== undefined && !metricsToken.equals(bearerOf(ctx.get("Authorization")) ?? "")) {
      const headers = { "WWW-Authenticate": 'Bearer realm="metrics"' };
      throw new HttpError("request/unauthorized", "the metrics need a Bearer token", headers);
    }
    const all = await metrics.render();
    // Without a token whoever asks is a stranger.
    ctx.body = metricsToken === undefined ? withoutPrivate(all, privateNames) : all;
    ctx.set("Content-Type", metrics.contentType);
  });

  for (const [name, repository] of repositories) {
    const desk = new PingHandler(repository, tokens.get(name) ?? (() => []), options.pingLimits, log);
    router.post([`/-/ping/${name}`, `/-/ping/${name}/{*path}`], async (ctx) => {
      const { asker } = ctx.state;
      const { rest, query } = asker.path();
      await desk.answer(ctx, rest.split("/").slice(2).join("/"), new URLSearchParams(query), asker.signal);
    });
    router.get(`/-/ping/${name}`, (ctx) => desk.describe(ctx));
    const uriOf = (ctx: Koa.Context): string => `${options.publicUrl ?? originOf(ctx)}/${name}`;
    addGettingStarted(router, repository, { uriOf, isPrivate: readers.isPrivate(name) });
  }
  return router;
}

/** @throws HttpError for a Host that could smuggle something into a page or a source */
function originOf(ctx: Koa.Context): string {
  const { localAddress = "localhost", localPort = 80 } = ctx.req.socket;
  const host = ctx.get("Host") || `${localAddress.includes(":") ? `[${localAddress}]` : localAddress}:${localPort}`;
  if (!/^([a-z0-9._-]+|\[[0-9a-f:.]+\])(:\d{1,5})?$/i.test(host)) {
    throw new HttpError("request/malformed", "the Host header is no host");
  }
  return `http://${host}`;
}
