// The difference between two suites or snapshots.
import type { Diff, DiffSide } from "../data/repository-data.ts";
import type { Links } from "../html/links.ts";
import { template } from "../html/templates.ts";
import { fitting, lengthAt } from "./fitting.ts";
import { pagesHtml } from "./fragments.ts";
import { renderPage } from "./frame.ts";
import type { PageRequest, PageSource } from "./page-context.ts";

const perPage = 200;

const body = template<{
  readonly links: Links;
  readonly from: string;
  readonly to: string;
  readonly diff: Diff | undefined;
  readonly isAsked: boolean;
  readonly swapped: string;
  readonly sideText: (side: DiffSide) => string;
  readonly pages: string;
}>(`<h1>Compare</h1>
<form class="filters" action="<%= it.links.page("diff") %>"><div class="grow"><label for="from">From, as SUITE or SUITE@ID</label><input id="from" name="from" required value="<%= it.from %>"></div><div class="grow"><label for="to">To</label><input id="to" name="to" required value="<%= it.to %>"></div><div><button>Compare</button></div></form>
<% if (it.diff === undefined) { %><% if (it.isAsked) { %><p class="note">One of the two does not exist. A suite is named like <code>sid</code>, a snapshot like <code>sid@20261129T225800Z</code>, with its id, a time, or the name of a pin.</p><% } %>
<% } else { %><p><%= it.sideText(it.diff.from) %>, <%~ it.timeHtml(it.diff.from.dateSeconds) %> → <%= it.sideText(it.diff.to) %>, <%~ it.timeHtml(it.diff.to.dateSeconds) %></p>
<p><span class="added"><%= it.integer(it.diff.counts.added) %> added</span> · <span class="removed"><%= it.integer(it.diff.counts.removed) %> removed</span> · <%= it.integer(it.diff.counts.changed) %> changed · <a href="<%= it.swapped %>">Swap the sides</a></p>
<% if (it.diff.total > 0) { %><table class="stack">
<thead><tr><th scope="col">Package</th><th scope="col">Architecture</th><th scope="col">Component</th><th scope="col">Before</th><th scope="col">After</th></tr></thead>
<tbody>
<% for (const one of it.diff.entries) { %><tr><th scope="row"><a href="<%= one.architecture === "source" ? it.links.source(one.name) : it.links.package(one.name) %>"><%= one.name %></a></th><td data-label="Architecture"><%= one.architecture %></td><td data-label="Component"><%= one.component %></td><td data-label="Before"<% if (one.before.length > 0) { %> class="removed"<% } %>><%= one.before.join(", ") || "–" %></td><td data-label="After"<% if (one.after.length > 0) { %> class="added"<% } %>><%= one.after.join(", ") || "–" %></td></tr>
<% } %></tbody>
</table>
<%~ it.pages %><% } else { %><p>Both have the same packages.</p><% } %>
<% } %>`);

/** Renders the page. */
export const renderDiffPage = (source: PageSource, request: PageRequest): Promise<string> =>
  fitting((share) => renderAtShare(source, request, share));

async function renderAtShare(
  { data, repository }: PageSource,
  { links, query, signal }: PageRequest,
  share: number,
): Promise<string> {
  const [from, to] = [query.get("from")?.trim() ?? "", query.get("to")?.trim() ?? ""];
  const cursor = query.get("cursor") ?? undefined;
  const isAsked = from !== "" && to !== "";
  const diff = isAsked ? await data.diff({ from, to, cursor, limit: lengthAt(share, perPage) }, signal) : undefined;
  const html = body({
    links,
    from,
    to,
    diff,
    isAsked,
    swapped: links.page("diff", { from: to, to: from }),
    sideText: ({ suite, snapshot, isCurrent }) => (isCurrent ? `${suite} as it is now` : `${suite} as of ${snapshot}`),
    pages: pagesHtml({ from, to, cursor }, diff?.next),
  });
  const crumbs = [{ text: "Snapshots", href: links.page("snapshots") }];
  return renderPage({ title: "Compare", body: html }, { links, repository: repository.name, tab: "snapshots", crumbs });
}
