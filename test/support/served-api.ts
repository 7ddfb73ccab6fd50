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
  const { repository, state } = served;
  const thread = new IndexThread();
  const publications = new Publications([{ repository }]);
  const index = new SearchIndex({ publications, thread, file: join(state, "search.sqlite"), log: silentLog });
  const data = new PublishedData({ repository, publications, index, keys: [] });
  const nowSeconds = () => Date.now() / 1000;
  const app = await startApp([repository], {
    furtherRoutes: async () => [
      addFeeds([data], nowSeconds),
      addPages([{ repository, data }], nowSeconds),
      addApi([data], "1"),
    ],
    ...options,
  });
  onTestFinished(async () => {
    await app.stop(0);
    await index.stop();
    await thread.close();
  });
  await index.settled();
  return { ...app, root: `${app.base}/-/api/v1`, own: `${app.base}/-/api/v1/repositories/${repository.name}` };
}
