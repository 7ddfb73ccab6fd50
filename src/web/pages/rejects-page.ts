// The rejected files with what to do about them, and the files that wait.

import { template } from "../html/templates.ts";
import { fitting, lengthAt } from "./fitting.ts";
import { pagesHtml, pendingHtml, rejectsHtml } from "./fragments.ts";
import { renderPage } from "./frame.ts";
import type { PageRequest, PageSource } from "./page-context.ts";

const rejectsPerPage = 100;
const maxPending = 50;

const body = template<{
  readonly rejects: number;
  readonly table: string;
  readonly pages: string;
  readonly pending: number;
  readonly morePending: number;
  readonly pendingTable: string;
}>(`<h1>Rejected files</h1>
<p>No index lists these files. Everything else is published without them.</p>
<% if (it.rejects === 0) { %><p>Nothing is rejected.</p><% } else { %><p class="quiet"><%= it.count(it.rejects, "file") %></p>
<%~ it.table %>
<%~ it.pages %><% } %>
<h2 id="pending">Waiting files</h2>
<% if (it.pending === 0) { %><p>Nothing waits.</p><% } else { %>
<p>A source package is published when all its files are there, and every file after its inspection.</p>
<%~ it.pendingTable %>
<% if (it.morePending > 0) { %><p>And <%= it.morePending %> more.</p><% } %><% } %>`);

/** Renders the page. */
export const renderRejectsPage = (source: PageSource, request: PageRequest): Promise<string> =>
  fitting((share) => renderAtShare(source, request, share));

function renderAtShare({ data, repository }: PageSource, { links, query }: PageRequest, share: number): string {
  const cursor = query.get("cursor") ?? undefined;
  const filter = { suite: query.get("suite") ?? undefined, builder: query.get("builder") ?? undefined };
  const rejects = data.rejects({ ...filter, cursor, limit: lengthAt(share, rejectsPerPage) });
  const pending = data.pending({ limit: lengthAt(share, maxPending) });
  const html = body({
    rejects: rejects.total,
    table: rejectsHtml(rejects.entries),
    pages: pagesHtml({ ...filter, cursor }, rejects.next),
    pending: pending.total,
    morePending: pending.total - pending.entries.length,
    pendingTable: pendingHtml(pending.entries),
  });
  return renderPage({ title: "Rejected files", body: html }, { links, repository: repository.name, tab: "rejects" });
}
