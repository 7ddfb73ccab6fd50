// Routes that list the kept publications, as HTML and as JSON.
import type Router from "@koa/router";
import { Eta } from "eta";
import { httpDate } from "../base/clock.ts";
import type { KeptPublication, ServedRepository } from "../publishing/served-repository.ts";
import { renderFrame } from "./html-pages.ts";
import { setJsonBody } from "./json-body.ts";

/** The page shows this many publications of each suite, the newest ones, and all pinned ones. */
const maxOnPage = 100;
/** The same for the JSON list. */
const maxInJson = 1000;

const template = `<h1>The past of <%= it.name %></h1>
<p>Each suite as it was is a repository of its own, for as long as it is kept: put <code>snapshots/ID/</code> behind the
address in your source. Any other moment of that form will do, and gives what was served then. Its signature is that of
its time.</p>
<% if (it.rows.length === 0) { %><p>Nothing is kept yet.</p><% } else { %>
<table>
<tr><th>Suite</th><th>ID</th><th>Served since</th><th>Kept as</th></tr>
<% for (const row of it.rows) { %><tr>
<td><%= row.suite %></td><td><code><%= row.id %></code></td><td><%= row.served %></td>
<td><%= [...(row.isCurrent ? ["(current)"] : []), ...row.pins].join(" ") %></td>
</tr>
<% } %></table>
<% } %>
<% if (it.omitted > 0) { %><p>And <%= it.omitted %> older ones.</p><% } %>`;

const eta = new Eta({ autoEscape: true, autoTrim: false });
eta.loadTemplate("@snapshots", template);

/** Whether a path below a mount is one of these routes. */
export const isSnapshotsPage = (rest: string): boolean => rest === "snapshots" || rest === "snapshots/index.json";

export function addSnapshotsPage<State>(router: Router<State>, repository: ServedRepository): void {
  const { name } = repository;
  router.get(`/${name}/snapshots`, (ctx) => {
    ctx.status = 301;
    ctx.set("Location", "snapshots/");
    ctx.body = "the list is at snapshots/\n";
  });
  router.get(`/${name}/snapshots/`, (ctx) => {
    const { rows, omitted } = newest(repository.snapshots(), maxOnPage);
    const dated = rows.map((row) => ({ ...row, served: httpDate(row.servedSeconds) }));
    ctx.body = renderFrame(`The past of ${name}`, eta.render("@snapshots", { name, rows: dated, omitted }));
    ctx.set("Content-Type", "text/html; charset=utf-8");
    ctx.set("Cache-Control", "no-cache");
  });
  router.get(`/${name}/snapshots/index.json`, (ctx) => {
    const { rows, omitted } = newest(repository.snapshots(), maxInJson);
    const snapshots = rows.map(({ suite, id, servedSeconds, isCurrent, pins }) => ({
      suite,
      id,
      servedSeconds,
      current: isCurrent,
      pins,
    }));
    setJsonBody(ctx, { snapshots, omitted });
    ctx.set("Cache-Control", "no-cache");
  });
}

/** @param kept grouped by suite, the newest first */
function newest(kept: Iterable<KeptPublication>, max: number) {
  const rows: KeptPublication[] = [];
  const counts = new Map<string, number>();
  let omitted = 0;
  for (const one of kept) {
    const count = counts.get(one.suite) ?? 0;
    counts.set(one.suite, count + 1);
    if (count < max || one.pins.length > 0) rows.push(one);
    else omitted += 1;
  }
  return { rows, omitted };
}
