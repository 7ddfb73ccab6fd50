// Routes of each repository for people, and for setting it up: its pages, its directories, its public keys, and its
// .sources and extrepo files.
import type Router from "@koa/router";
import type Koa from "koa";
import { pathToRoot } from "../../http/browsers.ts";
import { HttpError } from "../../http/error-responses.ts";
import { setJsonBody } from "../../http/json-body.ts";
import type { AddRoutes, RouteState } from "../../http/routes.ts";
import { setTextBody } from "../../http/text-body.ts";
import { publicSuiteName } from "../../publishing/live/flat-names.ts";
import type { RepositoryStatus } from "../../publishing/served-repository.ts";
import { Links } from "../html/links.ts";
import { renderDeb822Source } from "./deb822-source.ts";
import { renderExtrepo } from "./extrepo.ts";
import { contentSecurityPolicy } from "./frame.ts";
import { renderListPage } from "./list-page.ts";
import type { PageRequest, PageSource } from "./page-context.ts";
import { renderDirectoryAt, renderPageAt } from "./repository-pages.ts";
import { snapshotsJson } from "./snapshots-json.ts";

type Context = Koa.ParameterizedContext<RouteState>;

/** Adds the pages of all repositories. */
export const addPages =
  (sources: readonly PageSource[], nowSeconds: () => number): AddRoutes =>
  (router, access) => {
    router.get("/", (ctx) => {
      const open = sources.filter(({ repository }) => !access.isPrivate(repository.name));
      setHtmlBody(ctx, renderListPage(open.map(({ repository }) => repository)));
    });
    for (const source of sources) {
      const { name } = source.repository;
      addRepositoryPages(router, source, {
        isPrivate: access.isPrivate(name),
        uriOf: (ctx) => `${access.originOf(ctx)}/${name}`,
        nowSeconds,
      });
    }
  };

interface RepositoryPagesOptions {
  readonly isPrivate: boolean;
  /** Returns the URL of the repository for this client, without a trailing slash. */
  readonly uriOf: (ctx: Context) => string;
  readonly nowSeconds: () => number;
}

function addRepositoryPages(
  router: Router<RouteState>,
  source: PageSource,
  { isPrivate, uriOf, nowSeconds }: RepositoryPagesOptions,
): void {
  const { name, key } = source.repository;
  const requestOf = (ctx: Context): PageRequest => ({
    links: new Links(pathToRoot(ctx.req.url ?? ""), name),
    query: new URLSearchParams(ctx.state.context.path().query),
    uri: uriOf(ctx),
    isPrivate,
    nowSeconds: nowSeconds(),
    signal: ctx.state.context.signal,
  });
  const page = async (ctx: Context, path: string) => {
    const html = await renderPageAt(path, source, requestOf(ctx));
    if (html === undefined) {
      if (source.data.isIndexing()) throw new HttpError("server/not-ready", "the index of packages is being built");
      throw new HttpError("request/not-found", `${name} has no page ${path}`);
    }
    setHtmlBody(ctx, html);
  };
  const text = (path: string, type: string, body: (ctx: Context) => string | Buffer) =>
    router.get(`/${name}/${path}`, (ctx) => {
      ctx.body = body(ctx);
      ctx.set("Content-Type", type);
      ctx.set("Cache-Control", "no-cache");
    });

  router.get(`/${name}`, (ctx) => redirect(ctx, `${name}/`, "the repository"));
  router.get(`/${name}/`, (ctx) => page(ctx, ""));
  router.get(`/${name}/-/{*path}`, (ctx) => {
    const { rest, trailingSlash } = ctx.state.context.path();
    return trailingSlash ? redirect(ctx, `../${lastOf(rest)}`, "the page") : page(ctx, rest);
  });
  text("key.asc", "application/pgp-keys", () => key.armored);
  text("key.gpg", "application/octet-stream", () => Buffer.from(key.binary));
  text(`${name}.sources`, "text/plain; charset=utf-8", (ctx) => {
    const suite = new URLSearchParams(ctx.state.context.path().query).get("suite");
    const status = publishedStatus(source);
    return renderDeb822Source(uriOf(ctx), key, suite === null ? status : onlySuite(status, suite));
  });
  text(`${name}.yaml`, "text/plain; charset=utf-8", (ctx) =>
    renderExtrepo(name, uriOf(ctx), key, publishedStatus(source)),
  );

  // The list of snapshots was here before there were other pages.
  router.get(`/${name}/snapshots`, (ctx) => redirect(ctx, "snapshots/", "the list"));
  router.get(`/${name}/snapshots/`, (ctx) => page(ctx, "-/snapshots"));
  router.get(`/${name}/snapshots/index.json`, (ctx) => {
    setJsonBody(ctx, snapshotsJson(source.repository));
    ctx.set("Cache-Control", "no-cache");
  });

  // Only browsers get here: see createApp.
  router.get(`/${name}/{*path}`, async (ctx) => {
    const { rest, trailingSlash } = ctx.state.context.path();
    const html = await renderDirectoryAt(rest, source, requestOf(ctx));
    if (html === undefined) throw new HttpError("request/not-found", `${name} has no ${rest}`);
    ctx.vary("Accept");
    if (trailingSlash) setHtmlBody(ctx, html);
    else redirect(ctx, `${lastOf(rest)}/`, "the directory");
  });
}

function setHtmlBody(ctx: Context, html: string): void {
  ctx.set("Cache-Control", "no-cache");
  ctx.set("Content-Security-Policy", contentSecurityPolicy);
  setTextBody(ctx, { type: "text/html; charset=utf-8", text: html, isWeak: true });
}

function redirect(ctx: Context, location: string, what: string): void {
  ctx.status = 301;
  ctx.set("Location", location);
  ctx.body = `${what} is at ${location}\n`;
}

const lastOf = (path: string): string => encodeURIComponent(path.slice(path.lastIndexOf("/") + 1));

/** @throws HttpError while there is no suite: apt would accept a file without suites silently, and find no package */
function publishedStatus({ repository }: PageSource): RepositoryStatus {
  const status = repository.status();
  if (status.suites.length > 0) return status;
  throw new HttpError("server/not-ready", status.notReady ?? "nothing is published yet");
}

/** @throws HttpError if there is no such suite */
function onlySuite(status: RepositoryStatus, name: string): RepositoryStatus {
  const suites = status.suites.filter((suite) => publicSuiteName(suite) === name);
  if (suites.length > 0) return { ...status, suites };
  const others = status.suites.map(publicSuiteName).join(", ");
  throw new HttpError("request/not-found", `there is no suite ${name}; the suites are ${others}`);
}
