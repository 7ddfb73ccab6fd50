// The kept publications of each suite, and what changed in each.
import type { ListedVersion, Snapshot } from "../data/repository-data.ts";
import { escapeHtml } from "../html/escape.ts";
import type { Links } from "../html/links.ts";
import { template } from "../html/templates.ts";
import { fitting, lengthAt } from "./fitting.ts";
import { pagesHtml } from "./fragments.ts";
import { renderPage } from "./frame.ts";
import type { PageRequest, PageSource } from "./page-context.ts";

const perPage = 40;
/** How many changed packages of a snapshot are named; its comparison shows all. */
const maxNamed = 6;

interface Row extends Snapshot {
  readonly changesHtml: string;
  /** The address of the comparison with the snapshot before it. */
  readonly diff: string | undefined;
}

const body = template<{
  readonly links: Links;
  readonly uri: string;
  readonly suites: readonly string[];
  readonly suite: string | undefined;
  readonly rows: readonly Row[];
  readonly total: number;
  readonly pages: string;
}>(`<h1>Snapshots</h1>
<p>Each suite as it was is a repository of its own, for as long as it is kept: put <code>/snapshots/ID</code> behind the address in your source, for example <code><%= it.uri %>/snapshots/<%= it.rows[0]?.id ?? "ID" %></code>. Any other moment of this form works too, and gives what was served then.</p>
<% if (it.total > 0) { %><details><summary>Compare two of them</summary>
<form class="filters" action="<%= it.links.page("diff") %>"><div class="grow"><label for="from">From, as SUITE or SUITE@ID</label><input id="from" name="from" required></div><div class="grow"><label for="to">To</label><input id="to" name="to" required></div><div><button>Compare</button></div></form></details>
<% } %><% if (it.suites.length > 1) { %><ul class="choices" aria-label="Suites"><li><a href="<%= it.links.page("snapshots") %>"<% if (it.suite === undefined) { %> aria-current="true"<% } %>>all suites</a></li><% for (const suite of it.suites) { %><li><a href="<%= it.links.page("snapshots", { suite }) %>"<% if (it.suite === suite) { %> aria-current="true"<% } %>><%= suite %></a></li><% } %></ul>
<% } %><% if (it.total === 0) { %><p>Nothing is kept yet.</p><% } else { %>
<table class="stack">
<thead><tr><th scope="col">Suite</th><th scope="col">ID</th><th scope="col">Served since</th><th scope="col">Kept as</th><th scope="col">What changed</th></tr></thead>
<tbody>
<% for (const row of it.rows) { %><tr><td><%= row.suite %></td><th scope="row"><a href="<%= it.links.file("snapshots/" + row.id + "/") %>"><code><%= row.id %></code></a></th><td data-label="Served since"><%~ it.timeHtml(row.servedSeconds) %></td><td data-label="Kept as"><% if (row.isCurrent) { %><span class="tag">current</span> <% } %><%= row.pins.join(" ") %></td><td class="wide"><%~ row.changesHtml %><% if (row.diff) { %> <a href="<%= row.diff %>">Details<span class="unseen"> of <%= row.id %></span></a><% } %></td></tr>
<% } %></tbody>
</table>
<%~ it.pages %><% } %>`);

/** Renders the page. */
export const renderSnapshotsPage = (source: PageSource, request: PageRequest): Promise<string> =>
  fitting((share) => renderAtShare(source, request, share));

async function renderAtShare(
  { data, repository }: PageSource,
  { links, query, uri, signal }: PageRequest,
  share: number,
): Promise<string> {
  const suite = query.get("suite") || undefined;
  const cursor = query.get("cursor") ?? undefined;
  const { entries, total, next } = await data.snapshots({ suite, cursor, limit: lengthAt(share, perPage) }, signal);
  const rows = entries.map((snapshot, at): Row => {
    const before = entries[at + 1];
    const isPair = before?.suite === snapshot.suite;
    const side = ({ suite: name, id }: Snapshot) => `${name}@${id}`;
    return {
      ...snapshot,
      changesHtml: changesHtml(snapshot),
      diff: isPair && hasChanged(snapshot) ? links.page("diff", { from: side(before), to: side(snapshot) }) : undefined,
    };
  });
  const suites = [...new Set([...repository.snapshots()].map((kept) => kept.suite as string))];
  const html = body({ links, uri, suites, suite, rows, total, pages: pagesHtml({ suite, cursor }, next) });
  return renderPage({ title: "Snapshots", body: html }, { links, repository: repository.name, tab: "snapshots" });
}

const hasChanged = ({ changes }: Snapshot): boolean => (changes?.added.total ?? 0) + (changes?.removed.total ?? 0) > 0;

function changesHtml({ changes, binaryPackages, sourcePackages }: Snapshot): string {
  if (changes === undefined)
    return `<span class="quiet">the first one kept, with ${binaryPackages + sourcePackages} packages</span>`;
  const { added, removed } = changes;
  if (added.total + removed.total === 0) return '<span class="quiet">the same packages</span>';
  return [named("added", "+", added), named("removed", "−", removed)].filter((part) => part !== "").join("<br>");
}

function named(
  kind: "added" | "removed",
  sign: string,
  { entries, total }: { readonly entries: readonly ListedVersion[]; readonly total: number },
): string {
  if (total === 0) return "";
  const names = [...new Set(entries.map(({ name, version }) => `${name} ${version}`))];
  const shown = names.slice(0, maxNamed).map(escapeHtml).join(", ");
  const more = total > entries.length || names.length > maxNamed ? " …" : "";
  return `<span class="${kind}"><span class="unseen">${kind}: </span>${sign}${total}</span> ${shown}${more}`;
}
