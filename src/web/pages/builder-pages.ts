// The list of builders, and the page of one: its uploads, rejects, pending files and budgets.

import type { Budget, BuilderDetail, BuilderSummary, Cut } from "../data/repository-data.ts";
import { builderName, integer, size } from "../html/formats.ts";
import type { Links } from "../html/links.ts";
import { template } from "../html/templates.ts";
import { fitting, lengthAt } from "./fitting.ts";
import { builderHtml, pendingHtml, rejectsHtml, uploadsHtml } from "./fragments.ts";
import { renderPage } from "./frame.ts";
import type { PageRequest, PageSource } from "./page-context.ts";

const maxBuilders = 200;
const maxUploads = 60;
const maxRejects = 40;

const list = template<{
  readonly links: Links;
  readonly builders: readonly BuilderSummary[];
  readonly more: number;
  readonly builderHtml: typeof builderHtml;
}>(`<h1>Builders</h1>
<p>A builder is a person or machine that uploads packages into a directory of its own.</p>
<% if (it.builders.length === 0) { %><p>There is none: all packages are directly in the directories of their suites.</p><% } else { %>
<table class="stack">
<thead><tr><th scope="col">Builder</th><th scope="col">Directory</th><th scope="col" class="number">Packages</th><th scope="col" class="number">Rejects</th><th scope="col" class="number">Waiting</th><th scope="col">Last upload</th></tr></thead>
<tbody>
<% for (const one of it.builders) { %><tr><th scope="row"><%~ it.builderHtml(it.links, one.directory) %></th><td data-label="Directory" class="path"><%~ it.pathHtml(one.directory) %></td><td data-label="Packages" class="number"><%= it.integer(one.packages) %></td><td data-label="Rejects" class="number"><%= it.integer(one.rejects) %></td><td data-label="Waiting" class="number"><%= it.integer(one.pending) %></td><td data-label="Last upload"><%~ it.timeHtml(one.lastUploadSeconds) %></td></tr>
<% } %></tbody>
</table>
<% if (it.more > 0) { %><p>And <%= it.more %> more.</p><% } %>
<% } %>`);

const one = template<{
  readonly links: Links;
  readonly name: string;
  readonly detail: BuilderDetail;
  readonly budgets: readonly {
    readonly name: string;
    readonly used: string;
    readonly limit: string;
    readonly percent: number;
  }[];
  readonly uploads: string;
  readonly moreUploads: number;
  readonly rejects: string;
  readonly moreRejects: number;
  readonly waiting: string;
  readonly moreWaiting: number;
}>(`<h1><%= it.name %> <small>builder</small></h1>
<dl class="facts">
<dt>Directory</dt><dd class="path"><a href="<%= it.links.file(it.detail.directory + "/") %>"><%~ it.pathHtml(it.detail.directory) %></a></dd>
<dt>Packages</dt><dd><a href="<%= it.links.packages({ builder: it.detail.directory }) %>"><%= it.count(it.detail.packages, "package") %></a></dd>
<% if (it.detail.lastUploadSeconds !== undefined) { %><dt>Last upload</dt><dd><%~ it.timeHtml(it.detail.lastUploadSeconds) %></dd>
<% } %></dl>
<% if (it.budgets.length > 0) { %><h2>Budgets</h2>
<table class="stack">
<thead><tr><th scope="col">Limit</th><th scope="col" class="number">Used</th><th scope="col" class="number">Of</th><th scope="col" class="number">Share</th></tr></thead>
<tbody>
<% for (const budget of it.budgets) { %><tr><th scope="row"><%= budget.name %></th><td data-label="Used" class="number"><%= budget.used %></td><td data-label="Of" class="number"><%= budget.limit %></td><td data-label="Share" class="number"><%= budget.percent %>%</td></tr>
<% } %></tbody>
</table>
<% } %>
<% if (it.detail.rejected.total > 0) { %><h2>Rejected files</h2>
<%~ it.rejects %><% if (it.moreRejects > 0) { %><p>And <%= it.moreRejects %> more.</p><% } %>
<% } %>
<% if (it.detail.waiting.total > 0) { %><h2>Waiting files</h2>
<%~ it.waiting %><% if (it.moreWaiting > 0) { %><p>And <%= it.moreWaiting %> more.</p><% } %>
<% } %>
<h2>Uploads</h2>
<% if (it.detail.uploads.total === 0) { %><p>No suite lists a package of this builder.</p><% } else { %>
<%~ it.uploads %><% if (it.moreUploads > 0) { %><p>And <%= it.moreUploads %> older ones.</p><% } %>
<% } %>`);

/** Renders the list of builders. */
export async function renderBuildersPage(
  { data, repository }: PageSource,
  { links, signal }: PageRequest,
): Promise<string> {
  const builders = await data.builders(signal);
  const place = { links, repository: repository.name, tab: "builders" } as const;
  return await fitting((share) => {
    const shown = builders.slice(0, lengthAt(share, maxBuilders));
    const body = list({ links, builders: shown, more: builders.length - shown.length, builderHtml });
    return renderPage({ title: "Builders", body }, place);
  });
}

/** Renders the page of one builder. @returns undefined if there is no such builder */
export async function renderBuilderPage(
  directory: string,
  { data, repository }: PageSource,
  { links, signal }: PageRequest,
): Promise<string | undefined> {
  const detail = await data.builder(directory, signal);
  if (detail === undefined) return undefined;
  const name = builderName(directory);
  const { uploads, rejected, waiting } = detail;
  const crumbs = [{ text: "Builders", href: links.page("builders") }];
  const place = { links, repository: repository.name, tab: "builders", crumbs } as const;
  return await fitting((share) => {
    const first = <Entry>({ entries }: Cut<Entry>, usual: number) => entries.slice(0, lengthAt(share, usual));
    const shown = {
      uploads: first(uploads, maxUploads),
      rejected: first(rejected, maxRejects),
      waiting: first(waiting, maxRejects),
    };
    const body = one({
      links,
      name,
      detail,
      budgets: detail.budgets.map(budgetRow),
      uploads: uploadsHtml(links, shown.uploads, false),
      moreUploads: uploads.total - shown.uploads.length,
      rejects: rejectsHtml(shown.rejected),
      moreRejects: rejected.total - shown.rejected.length,
      waiting: pendingHtml(shown.waiting),
      moreWaiting: waiting.total - shown.waiting.length,
    });
    return renderPage({ title: name, body }, place);
  });
}

const limitNames: Readonly<Record<Budget["limitKey"], string>> = {
  max_directory_packages: "Packages",
  max_directory_index_bytes: "Room in the indices",
  max_directory_variants: "Variants of one package",
};

function budgetRow({ limitKey, used, limit }: Budget) {
  const show = limitKey.endsWith("bytes") ? size : integer;
  const percent = limit === 0 ? 0 : Math.round((used / limit) * 100);
  return { name: limitNames[limitKey], used: show(used), limit: show(limit), percent };
}
