// The pages, the API, the feeds and the badges of a served folder, over HTTP, with the real thread of the index.
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { silentLog } from "../../src/base/log.ts";
import type { AppOptions } from "../../src/http/app.ts";
import { addApi } from "../../src/web/api/api-routes.ts";
import { Publications } from "../../src/web/data/publications.ts";
import { PublishedData } from "../../src/web/data/published-data.ts";
import { addFeeds } from "../../src/web/feeds/feed-routes.ts";
import { addPages } from "../../src/web/pages/page-routes.ts";
import { IndexThread } from "../../src/web/search/index-thread.ts";
import { SearchIndex } from "../../src/web/search/search-index.ts";
import type { ServedFolder } from "./served-folder.ts";
import { startApp } from "./started-app.ts";

/** Starts a server; everything that was published before is in its index. */
export async function servedApi(served: ServedFolder, options: Partial<AppOptions> = {}) {
  const app = await servedTogether([served], options);
  const root = `${app.base}/-/api/v1`;
  return { ...app, root, own: `${root}/repositories/${served.repository.name}` };
}

/** Starts a server for several repositories, which share the thread of the index. */
export async function servedTogether(all: readonly ServedFolder[], options: Partial<AppOptions> = {}) {
  const thread = new IndexThread();
  const sources = all.map(({ repository, state }) => {
    const publications = new Publications([{ repository }]);
    const index = new SearchIndex({ publications, thread, file: join(state, "search.sqlite"), log: silentLog });
    return { repository, index, data: new PublishedData({ repository, publications, index, keys: [] }) };
  });
  const nowSeconds = () => Date.now() / 1000;
  const data = sources.map((source) => source.data);
  const repositories = all.map(({ repository }) => repository);
  const app = await startApp(repositories, {
    furtherRoutes: async () => [addFeeds(data, nowSeconds), addPages(sources, nowSeconds), addApi(data, "1")],
    ...options,
  });
  onTestFinished(async () => {
    await app.stop(0);
    for (const { index } of sources) await index.stop();
    await thread.close();
  });
  for (const { index } of sources) await index.settled();
  return app;
}
