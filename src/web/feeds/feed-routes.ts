// The routes of each repository for other programs and pages that show a part of it: the feeds of uploads, and badges.
import type Koa from "koa";
import { compareVersions } from "../../debian/version.ts";
import { HttpError } from "../../http/error-responses.ts";
import type { AddRoutes, RouteState } from "../../http/routes.ts";
import type { TextBody } from "../../http/text-body.ts";
import { setTextBody } from "../../http/text-body.ts";
import type { RepositoryData } from "../data/repository-data.ts";
import { renderFeed } from "./atom.ts";
import { renderBadge } from "./badge.ts";
import { feedEntries } from "./uploads.ts";

type Context = Koa.ParameterizedContext<RouteState>;

/** Adds the feeds and badges of all repositories. It must be added before their pages. */
export const addFeeds =
  (repositories: readonly RepositoryData[], nowSeconds: () => number): AddRoutes =>
  (router, access) => {
    for (const data of repositories) {
      const isPrivate = access.isPrivate(data.name);
      const suiteOf = (ctx: Context): string | undefined =>
        new URLSearchParams(ctx.state.context.path().query).get("suite") || undefined;
      const feed = async (ctx: Context, suite: string | undefined) => {
        const now = { nowSeconds: nowSeconds(), signal: ctx.state.context.signal };
        send(ctx, await feedOf(data, suite, access.originOf(ctx), now), isPrivate);
      };
      router.get(`/${data.name}/-/feed.atom`, (ctx) => feed(ctx, suiteOf(ctx)));
      router.get(`/${data.name}/-/feeds/{*path}`, async (ctx) => {
        const suite = nameIn(ctx, "feeds", ".atom");
        if (suite === undefined) throw new HttpError("request/not-found", "a feed is at -/feeds/SUITE.atom");
        await feed(ctx, suite);
      });
      router.get(`/${data.name}/-/badge/{*path}`, async (ctx) => {
        const name = nameIn(ctx, "badge", ".svg");
        if (name === undefined) throw new HttpError("request/not-found", "a badge is at -/badge/PACKAGE.svg");
        send(ctx, await badgeOf(data, name, suiteOf(ctx), ctx.state.context.signal), isPrivate);
      });
    }
  };

/** The name between a directory of pages and an extension, in the path of a request. */
function nameIn(ctx: Context, directory: string, extension: string): string | undefined {
  const { rest, trailingSlash } = ctx.state.context.path();
  const name = rest.slice(`-/${directory}/`.length);
  return name.length > extension.length && name.endsWith(extension) && !trailingSlash
    ? name.slice(0, -extension.length)
    : undefined;
}

/** @throws HttpError if there is no such suite, or nothing is indexed yet */
async function feedOf(
  data: RepositoryData,
  suite: string | undefined,
  origin: string,
  now: { readonly nowSeconds: number; readonly signal: AbortSignal },
): Promise<TextBody> {
  const health = data.health();
  const suites = health.suites.filter((one) => suite === undefined || one.suite === suite);
  if (suite !== undefined && suites.length === 0)
    throw new HttpError("request/not-found", `there is no suite ${suite}`);
  // An index that becomes complete during the query would not show in the date.
  const isComplete = !data.isIndexing();
  const entries = await feedEntries(data, suite, now);
  if (entries.length === 0 && !isComplete) {
    throw new HttpError("server/not-ready", "the index of packages is being built");
  }
  const subject = {
    repository: data.name,
    keyFingerprint: health.keys[0]?.fingerprint ?? "",
    suite,
    origin,
  };
  const publishedSeconds = Math.max(0, ...suites.map((one) => one.publishedSeconds));
  return {
    type: "application/atom+xml; charset=utf-8",
    text: renderFeed(subject, entries),
    lastModifiedSeconds: isComplete && publishedSeconds > 0 ? Math.floor(publishedSeconds) : undefined,
  };
}

/** A package that is not found has a badge too: pages that show it would otherwise show a broken image. */
async function badgeOf(
  data: RepositoryData,
  name: string,
  suite: string | undefined,
  signal: AbortSignal,
): Promise<TextBody> {
  const found = await data.summary(name, signal);
  const versions = found?.suites.filter((one) => suite === undefined || one.suite === suite) ?? [];
  const [version] = versions.map((one) => one.version).toSorted((a, b) => compareVersions(b, a));
  const place = suite === undefined ? data.name : `${suite} of ${data.name}`;
  const message = version ?? (data.isIndexing() ? "unknown" : "not found");
  const title = version === undefined ? `${name} is ${message} in ${place}` : `${name} ${version} in ${place}`;
  const text = renderBadge({ label: name, message, title, isFound: version !== undefined });
  return { type: "image/svg+xml; charset=utf-8", text };
}

function send(ctx: Context, content: TextBody, isPrivate: boolean): void {
  ctx.set("Cache-Control", "no-cache");
  if (!isPrivate) {
    ctx.set("Access-Control-Allow-Origin", "*");
    // Without this, pages of other sites could not show the image.
    ctx.set("Cross-Origin-Resource-Policy", "cross-origin");
  }
  setTextBody(ctx, content);
}
