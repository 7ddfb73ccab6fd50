// The health of a repository: what is wrong, the grid, the keys, and what happened in the last day and month.
import { redact } from "../../base/redact.ts";
import type { Activity, Sample, Span } from "../activity/activity-log.ts";
import type { RepositoryHealth } from "../data/repository-data.ts";
import { count, integer } from "../html/formats.ts";
import type { Links } from "../html/links.ts";
import { template } from "../html/templates.ts";
import type { LinePoint } from "./charts.ts";
import { barChart, dotChart } from "./charts.ts";
import { renderPage } from "./frame.ts";
import type { HealthSummary } from "./health-summary.ts";
import { summaryOfHealth } from "./health-summary.ts";
import type { PageRequest, PageSource } from "./page-context.ts";

interface Chart {
  readonly heading: string;
  readonly about: string;
  /** The meaning of the two colours; undefined if there is one. */
  readonly colours?: readonly [string, string];
  readonly day: string;
  readonly month: string;
}

const body = template<{
  readonly links: Links;
  readonly summary: HealthSummary;
  readonly health: RepositoryHealth;
  readonly troubles: readonly string[];
  readonly nowSeconds: number;
  readonly charts: readonly Chart[];
}>(`<h1>Health</h1>
<p class="lead"><span class="state <%= it.summary.level %>"><%= it.summary.text %></span></p>
<% for (const trouble of it.troubles) { %><p class="note"><%= trouble %></p>
<% } %>
<div class="columns">
<section><h2>Suites</h2>
<% if (it.health.suites.length === 0) { %><p>Nothing is published yet.</p><% } else { %>
<table class="stack">
<thead><tr><th scope="col">Suite</th><th scope="col">Published</th><th scope="col">Valid until</th><th scope="col">Contents and pdiffs</th></tr></thead>
<tbody>
<% for (const one of it.health.suites) { %><tr><th scope="row"><%= one.suite %></th><td data-label="Published"><%~ it.timeHtml(one.publishedSeconds) %><% if (one.rolledBackTo) { %>, rolled back to <%= one.rolledBackTo %><% } %></td><td data-label="Valid until"><% if (one.validUntilSeconds === undefined) { %>no end<% } else { %><%~ it.timeHtml(one.validUntilSeconds) %><% } %></td><td data-label="Contents and pdiffs"><% if (one.isAwaitingDeferredFiles) { %><span class="state warn">being made</span><% } else { %><span class="state good">complete</span><% } %></td></tr>
<% } %></tbody>
</table>
<% } %></section>
<section><h2>Signing keys</h2>
<table class="stack">
<thead><tr><th scope="col">Fingerprint</th><th scope="col">Expires</th></tr></thead>
<tbody>
<% for (const key of it.health.keys) { %><tr><td class="path"><%= it.fingerprint(key.fingerprint) %></td><td data-label="Expires"><% if (key.expiresSeconds === undefined) { %>never<% } else { %><%~ it.timeHtml(key.expiresSeconds) %> <span class="quiet"><%= key.expiresSeconds < it.nowSeconds ? "expired" : "in " + it.duration(key.expiresSeconds - it.nowSeconds) %></span><% } %></td></tr>
<% } %></tbody>
</table></section>
<section><h2>Grid</h2>
<% if (it.health.grid === undefined) { %><p>The packages are in a local folder.</p><% } else { %>
<ul class="plain">
<% for (const gateway of it.health.grid.gateways) { %><li><span class="state <%= gateway.isReachable ? "good" : "bad" %>">Gateway <%= gateway.number %><%= gateway.isReachable ? ": no failure" : " did not respond" %></span></li>
<% } %></ul>
<% if (it.health.grid.lastCheck === undefined) { %><p class="quiet">The objects of the grid have not been checked yet.</p><% } else { %>
<dl class="facts">
<dt>Objects with all shares</dt><dd><%= it.integer(it.health.grid.lastCheck.healthy) %></dd>
<dt>Objects that lack shares</dt><dd><%= it.integer(it.health.grid.lastCheck.unhealthy) %></dd>
<dt>Unreadable objects</dt><dd><%= it.integer(it.health.grid.lastCheck.lost) %></dd>
<dt>Unchecked objects</dt><dd><%= it.integer(it.health.grid.lastCheck.unchecked) %></dd>
<dt>Checked</dt><dd><%~ it.timeHtml(it.health.grid.lastCheck.endedSeconds) %></dd>
</dl><% } %><% } %></section>
<section><h2>Files</h2>
<dl class="facts">
<dt>Rejected</dt><dd><a href="<%= it.links.page("rejects") %>"><%= it.integer(it.health.rejects) %></a></dd>
<dt>Waiting</dt><dd><a href="<%= it.links.page("rejects") %>#pending"><%= it.integer(it.health.pending) %></a></dd>
</dl></section>
</div>
<% for (const chart of it.charts) { %><section><h2><%= chart.heading %></h2>
<p class="quiet"><%= chart.about %><% if (chart.colours) { %> <span class="key"><%= chart.colours[0] %></span><span class="key two"><%= chart.colours[1] %></span><% } %></p>
<div class="columns">
<figure><figcaption>Last day</figcaption><%~ chart.day %></figure>
<figure><figcaption>Last month</figcaption><%~ chart.month %></figure>
</div></section>
<% } %>`);

/** Renders the page. */
export function renderHealthPage({ data, repository, activity }: PageSource, request: PageRequest): string {
  const { links, nowSeconds } = request;
  const health = data.health();
  const { notReady, lastError, notices } = health;
  const html = body({
    links,
    summary: summaryOfHealth(health, nowSeconds),
    health,
    troubles: [notReady ?? lastError ?? [], notices].flat().map(redact),
    nowSeconds,
    charts: activity === undefined ? [] : chartsOf(activity()),
  });
  return renderPage({ title: "Health", body: html }, { links, repository: repository.name, tab: "health" });
}

function chartsOf({ day, month }: Activity): readonly Chart[] {
  const sumOf = ({ samples }: Span, value: (each: Sample) => number) =>
    samples.reduce((sum, each) => sum + value(each), 0);
  const bars = (span: Span, name: string, values: (each: Sample) => readonly number[]) => {
    const total = sumOf(span, (each) => values(each).reduce((sum, value) => sum + value, 0));
    return barChart(span, span.samples.map(values), { title: count(total, name), unit: axisNumber });
  };
  const dots = (span: Span) => {
    const pings = sumOf(span, (each) => each.pings);
    const mean = pings === 0 ? 0 : sumOf(span, (each) => each.pingSeconds) / pings;
    const slowest = Math.max(...span.samples.map((each) => each.slowestPingSeconds));
    const title =
      pings === 0 ? "no pings" : `${count(pings, "ping")}: ${seconds(mean)} on average, ${seconds(slowest)} at most`;
    return dotChart(span, span.samples.map(pointOf), { title, unit: seconds });
  };
  return [
    {
      heading: "From ping to live",
      about:
        "How long uploaders waited until their packages could be installed: the mean of each interval, and up to the longest.",
      day: dots(day),
      month: dots(month),
    },
    {
      heading: "Uploads",
      about: "Packages and source packages.",
      day: bars(day, "upload", (each) => [each.uploads]),
      month: bars(month, "upload", (each) => [each.uploads]),
    },
    {
      heading: "Traffic",
      about: "Requests for",
      colours: ["indices", "packages"],
      day: bars(day, "request", (each) => [each.indices, each.packages]),
      month: bars(month, "request", (each) => [each.indices, each.packages]),
    },
  ];
}

const pointOf = ({ pings, pingSeconds, slowestPingSeconds }: Sample): LinePoint =>
  pings === 0 ? undefined : { mean: pingSeconds / pings, greatest: slowestPingSeconds };

const seconds = (value: number): string => `${Number(value.toPrecision(2))} s`;

const axisNumber = (value: number): string =>
  value >= 10_000 ? `${integer(Math.round(value / 1000))}k` : String(Number(value.toFixed(1)));
