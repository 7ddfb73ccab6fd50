// The routes of the pages, the feeds and the API: everything that apt does not need.
import { systemClock } from "../base/clock.ts";
import { ownVersion } from "../base/own-version.ts";
import type { AddRoutes } from "../http/routes.ts";
import { addApi } from "../web/api/api-routes.ts";
import { addFeeds } from "../web/feeds/feed-routes.ts";
import type { PageSource } from "../web/pages/page-context.ts";
import { addPages } from "../web/pages/page-routes.ts";

/** @param sources all repositories */
export function webRoutes(sources: readonly PageSource[]): readonly AddRoutes[] {
  const nowSeconds = (): number => systemClock() / 1000;
  const data = sources.map((source) => source.data);
  return [addFeeds(data, nowSeconds), addPages(sources, nowSeconds), addApi(data, ownVersion())];
}
