// The list of packages: search, filters, order, pages. Everything is in its address.

import type { FoundPage, PackageOrder } from "../data/repository-data.ts";
import { packageOrders } from "../data/repository-data.ts";
import { builderName } from "../html/formats.ts";
import type { Links } from "../html/links.ts";
import { template } from "../html/templates.ts";
import { fitting, lengthAt } from "./fitting.ts";
import { pagesHtml } from "./fragments.ts";
import { renderPage } from "./frame.ts";
import type { PageRequest, PageSource } from "./page-context.ts";

const orderNames: Readonly<Record<PackageOrder, string>> = {
  relevance: "best match",
  name: "name",
  time: "newest upload",
};

interface Choice {
  readonly value: string;
  readonly text: string;
}

const body = template<{
  readonly links: Links;
  readonly text: string;
  readonly selects: readonly {
    readonly name: string;
    readonly label: string;
    readonly chosen: string;
    readonly choices: readonly Choice[];
  }[];
  readonly found: FoundPage;
  readonly isFiltered: boolean;
  readonly isIndexing: boolean;
  readonly maxChoices: number;
  readonly maxDescription: number;
  readonly maxSuites: number;
  readonly pages: string;
}>(`<h1>Packages</h1>
<form class="filters" role="search" action="<%= it.links.packages() %>">
<div class="row"><div class="grow"><label for="search">Name, description, source or maintainer</label><input type="search" id="search" name="q" maxlength="200" value="<%= it.text %>"></div><button>Search</button></div>
<% for (const select of it.selects) { %><% if (select.choices.length > 1) { %><div><label for="f-<%= select.name %>"><%= select.label %></label><% if (select.choices.length > it.maxChoices) { %><input id="f-<%= select.name %>" name="<%= select.name %>" value="<%= select.chosen %>"><% } else { %><select id="f-<%= select.name %>" name="<%= select.name %>"><% for (const choice of select.choices) { %><option value="<%= choice.value %>"<% if (choice.value === select.chosen) { %> selected<% } %>><%= choice.text %></option><% } %></select><% } %></div>
<% } %><% } %></form>
<% if (it.isIndexing) { %><p class="note">The index of packages is being built: some packages are missing here.</p>
<% } %><p class="quiet" role="status"><% if (it.found.total === 0) { %>No package matches. Each word must begin a word of the name, description, source or maintainer.<% } else if (it.found.hasMoreThanTotal) { %>More than <%= it.count(it.found.total, "package") %> match; only so many are listed.<% } else { %><%= it.count(it.found.total, "package") %><% } %><% if (it.isFiltered) { %> · <a href="<%= it.links.packages() %>">Show all packages</a><% } %></p>
<% if (it.found.total > 0) { %><ul class="results">
<% for (const one of it.found.entries) { %><li><h2><a href="<%= it.links.package(one.name) %>"><%= one.name %></a></h2>
<% if (one.description) { %><p><%= it.cut(one.description, it.maxDescription) %></p>
<% } %><p class="quiet"><small><% for (const [at, suite] of one.suites.slice(0, it.maxSuites).entries()) { %><%= at > 0 ? " · " : "" %><%= suite.suite %> <code><%= suite.version %></code> <%= it.cut(suite.architectures.join(" "), it.maxDescription) %><% } %><% if (one.suites.length > it.maxSuites) { %> · <%= one.suites.length - it.maxSuites %> more suites<% } %><% if (one.source !== one.name) { %> · source <a href="<%= it.links.source(one.source) %>"><%= one.source %></a><% } %><% if (one.uploadedSeconds !== undefined) { %> · <%~ it.timeHtml(one.uploadedSeconds) %><% } %></small></p></li>
<% } %></ul>
<%~ it.pages %><% } %>`);

const perPage = 50;
const maxDescription = 250;
const maxSuites = 6;
/** With more builders than this, a name is typed instead of chosen. */
const maxChoices = 60;

/** Renders the page. */
export const renderPackagesPage = (source: PageSource, request: PageRequest): Promise<string> =>
  fitting((share) => renderAtShare(source, request, share));

async function renderAtShare(source: PageSource, request: PageRequest, share: number): Promise<string> {
  const { data, repository } = source;
  const { links, query, signal } = request;
  const asked = (name: string): string | undefined => query.get(name)?.trim() || undefined;
  const text = asked("q")?.slice(0, 200);
  const sort = packageOrders.find((order) => order === query.get("sort"));
  const filter = {
    suite: asked("suite"),
    component: asked("component"),
    architecture: asked("architecture"),
    builder: asked("builder"),
  };
  const found = await data.packages(
    { text, sort, ...filter, cursor: asked("cursor"), limit: lengthAt(share, perPage) },
    signal,
  );
  const { suites, components, architectures, builders } = await data.filters(signal);
  const select = (name: keyof typeof filter, label: string, values: readonly string[], all: string) => {
    const chosen = filter[name] ?? "";
    // A value that nothing has can still be in the address, and is shown.
    const shown = chosen === "" || values.includes(chosen) ? values : [...values, chosen];
    const textOf = (value: string) => (name === "builder" ? builderText(value, values) : value);
    return {
      name,
      label,
      chosen,
      choices: [{ value: "", text: all }, ...shown.map((value) => ({ value, text: textOf(value) }))],
    };
  };
  const order = {
    name: "sort",
    label: "Order",
    chosen: sort ?? "",
    choices: packageOrders.map((value) => ({ value: value === "relevance" ? "" : value, text: orderNames[value] })),
  };
  const html = body({
    links,
    text: text ?? "",
    selects: [
      select("suite", "Suite", suites, "all"),
      select("component", "Component", components, "all"),
      select("architecture", "Architecture", architectures, "all"),
      select("builder", "Builder", builders, "all"),
      order,
    ],
    found,
    isFiltered: text !== undefined || Object.values(filter).some((value) => value !== undefined),
    isIndexing: data.isIndexing(),
    maxChoices,
    maxDescription,
    maxSuites,
    pages: pagesHtml({ q: text, sort, ...filter, cursor: asked("cursor") }, found.next),
  });
  const title = text === undefined ? "Packages" : `Packages that match “${text}”`;
  return renderPage({ title, body: html }, { links, repository: repository.name, tab: "packages", hasSearch: false });
}

/** The builder's name, with its directory if others have the same name. */
function builderText(directory: string, all: readonly string[]): string {
  const name = builderName(directory);
  return all.filter((other) => builderName(other) === name).length > 1 ? `${name} (${directory})` : name;
}
