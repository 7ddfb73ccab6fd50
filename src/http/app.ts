// All routes: repositories, their keys and pages, pings, metrics and health.
import Router from "@koa/router";
import Koa from "koa";
import helmet from "koa-helmet";
import type { Clock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { RepositoryName } from "../base/names.ts";
import type { Secret } from "../base/secret.ts";
import type { ServedRepository } from "../publishing/served.ts";
import type { Asker, RequestObserver } from "./asker.ts";
import { askerOf } from "./asker.ts";
import { bearerOf } from "./credentials.ts";
import { addGettingStarted, isKey, isOwnPage } from "./getting-started.ts";
import { renderList } from "./pages.ts";
import type { PingLimits, PingToken } from "./ping.ts";
import { defaultPingLimits, PingDesk } from "./ping.ts";
import { problemOf, RequestRefused, sendProblem, withoutCaps } from "./problems.ts";
import type { Reader, ReaderLimits } from "./reader-desk.ts";
import { defaultReaderLimits, ReaderDesk } from "./reader-desk.ts";
import type { Audience } from "./send.ts";
import { defaultFirstByteTimeoutMs, sendResource } from "./send.ts";

/** What `/metrics` shows. */
export interface MetricsPage {
  readonly contentType: string;
  render(): Promise<string>;
}

export interface HttpLimits extends PingLimits, ReaderLimits {
  readonly firstByteTimeoutMs: number;
}

export const defaultHttpLimits: HttpLimits = {
  ...defaultPingLimits,
  ...defaultReaderLimits,
  firstByteTimeoutMs: defaultFirstByteTimeoutMs,
};

export interface AppOptions {
  readonly repositories: ReadonlyMap<RepositoryName, ServedRepository>;
  /** A repository that is not here can't be pinged. */
  readonly tokens: ReadonlyMap<RepositoryName, () => readonly PingToken[]>;
  /** A repository that has readers here is for them alone. */
  readonly readers?: ReadonlyMap<RepositoryName, readonly Reader[]>;
  /** What asks for metrics must bear it, if there is one. */
  readonly metricsToken?: Secret | undefined;
  /** Whether a proxy of ours tells whom it asks for, as the last one in X-Forwarded-For. */
  readonly behindProxy?: boolean;
  readonly limits?: Partial<HttpLimits>;
  /** Where clients reach us, without a trailing slash; undefined: as the Host header says. */
  readonly publicUrl?: string | undefined;
  readonly metrics: MetricsPage;
  readonly observer: RequestObserver;
  readonly clock: Clock;
  readonly log: Log;
}

type State = { asker: Asker };

/** Makes the application; `startServer` brings it to a port. */
export function createApp(options: AppOptions): Koa<State> {
  const limits = { ...defaultHttpLimits, ...options.limits };
  const { log, behindProxy = false } = options;
  const desk = new ReaderDesk(options.readers ?? new Map(), limits, { behindProxy, log });
  const repositories: ReadonlyMap<string, ServedRepository> = options.repositories;
  const app = new Koa<State>();
  // Koa's own reporter prints whole errors; what matters is logged below, without caps.
  app.silent = true;

  app.use(async (ctx, next) => {
    const { req, res } = ctx;
    const asker = askerOf(req, res, options);
    try {
      const { mount, rest, trailingSlash } = asker.path();
      const repository = repositories.get(mount);
      const audience = repository !== undefined && desk.isPrivate(mount) ? "private" : "public";
      if (audience === "private" && !isKey(rest)) await desk.admit(mount, req);
      // APT's own requests take this short way past router and page headers: they are nearly all that there is.
      if (repository !== undefined && !isOwnPage(mount, rest)) {
        ctx.respond = false;
        asker.mustHearWithin(limits.firstByteTimeoutMs);
        await serve(repository, asker, ctx, audience);
        return;
      }
      ctx.state.asker = asker;
      // What the router matches is the path as normalised here, encoded again.
      ctx.path = encodePath(mount, rest, trailingSlash);
      await next();
      if (audience === "private") ctx.set("Cache-Control", "private, no-cache");
      if (ctx.status === 405) throw methodNotAllowed(ctx.method, ctx.response.get("Allow"));
      if (ctx.status === 501) throw new RequestRefused("request/not-implemented", `${ctx.method} is not known here`);
      if (ctx.status === 404) throw new RequestRefused("request/not-found", "nothing is here");
    } catch (thrown) {
      ctx.respond = false;
      const problem = problemOf(thrown);
      // Who has gone away needs no answer, and what their going broke is no fault.
      if (problem.status === 500 && !asker.signal.aborted) {
        const error = withoutCaps((thrown instanceof Error ? thrown.stack : undefined) ?? messageOf(thrown));
        log.error({ code: problem.code, error }, "a request failed");
      }
      sendProblem(res, problem);
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
  const router = routes(options, limits, desk);
  app.use(router.routes());
  app.use(router.allowedMethods());
  return app;
}

const encodePath = (mount: string, rest: string, trailingSlash: boolean): string => {
  const names = rest === "" ? [mount] : [mount, ...rest.split("/")];
  return `/${names.map(encodeURIComponent).join("/")}${trailingSlash && mount !== "" ? "/" : ""}`;
};

async function serve(
  repository: ServedRepository,
  asker: Asker,
  { req, res, method }: Koa.Context,
  audience: Audience,
): Promise<void> {
  if (method !== "GET" && method !== "HEAD") throw methodNotAllowed(method, "GET, HEAD");
  const { rest, trailingSlash } = asker.path();
  const resource = trailingSlash ? undefined : await repository.find(rest, asker);
  if (resource === undefined) throw new RequestRefused("request/not-found", `${repository.name} has no ${rest}`);
  await sendResource(resource, req, res, asker, audience);
}

function routes(options: AppOptions, limits: HttpLimits, readers: ReaderDesk): Router<State> {
  const { repositories, tokens, metrics, metricsToken, log } = options;
  const router = new Router<State>({ strict: true, sensitive: true });

  router.get("/", (ctx) => {
    ctx.type = "html";
    ctx.body = renderList([...repositories.keys()].filter((name) => !readers.isPrivate(name)));
  });
  router.get("/healthz", (ctx) => {
    ctx.body = "alive\n";
  });
  router.get("/readyz", (ctx) => {
    const reasons = [...repositories.values()].flatMap((repository) => {
      const { notReady } = repository.status();
      return notReady === undefined ? [] : [`${repository.name}: ${notReady}`];
    });
    if (reasons.length > 0) throw new RequestRefused("server/not-ready", reasons.join("; "));
    ctx.body = "ready\n";
  });
  router.get("/metrics", async (ctx) => {
    if (metricsToken !== undefined && !metricsToken.equals(bearerOf(ctx.get("Authorization")) ?? "")) {
      const headers = { "WWW-Authenticate": 'Bearer realm="metrics"' };
      throw new RequestRefused("request/unauthorized", "the metrics need a Bearer token", headers);
    }
    ctx.body = await metrics.render();
    ctx.set("Content-Type", metrics.contentType);
  });

  for (const [name, repository] of repositories) {
    const desk = new PingDesk(repository, tokens.get(name) ?? (() => []), limits, log);
    router.post([`/-/ping/${name}`, `/-/ping/${name}/{*path}`], async (ctx) => {
      const { asker } = ctx.state;
      const { rest, query } = asker.path();
      await desk.answer(ctx, rest.split("/").slice(2).join("/"), new URLSearchParams(query), asker.signal);
    });
    const uriOf = (ctx: Koa.Context): string => `${options.publicUrl ?? originOf(ctx)}/${name}`;
    addGettingStarted(router, repository, { uriOf, isPrivate: readers.isPrivate(name) });
  }
  return router;
}

/** @throws RequestRefused for a Host that could smuggle something into a page or a source */
function originOf(ctx: Koa.Context): string {
  const { localAddress = "localhost", localPort = 80 } = ctx.req.socket;
  const host = ctx.get("Host") || `${localAddress.includes(":") ? `[${localAddress}]` : localAddress}:${localPort}`;
  if (!/^([a-z0-9._-]+|\[[0-9a-f:.]+\])(:\d{1,5})?$/i.test(host)) {
    throw new RequestRefused("request/malformed", "the Host header is no host");
  }
  return `http://${host}`;
}

const methodNotAllowed = (method: string, allow: string): RequestRefused =>
  new RequestRefused("request/method", `${method} is not for this; allowed: ${allow}`, { Allow: allow });
