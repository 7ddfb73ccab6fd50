// The frame of every page: head, header with navigation and search, breadcrumbs, footer; and the policy that goes with it.
import { createHash } from "node:crypto";
import type { Links } from "../html/links.ts";
import { template } from "../html/templates.ts";
import { script } from "./script.ts";
import { style } from "./style.ts";

/** The pages of a repository that the navigation shows. */
const tabs = [
  { id: "home", text: "Overview", of: (links: Links) => links.home },
  { id: "packages", text: "Packages", of: (links: Links) => links.packages() },
  { id: "builders", text: "Builders", of: (links: Links) => links.page("builders") },
  { id: "snapshots", text: "Snapshots", of: (links: Links) => links.page("snapshots") },
  { id: "rejects", text: "Rejects", of: (links: Links) => links.page("rejects") },
  { id: "health", text: "Health", of: (links: Links) => links.page("health") },
  { id: "files", text: "Files", of: (links: Links) => links.page("files") },
] as const;

export type Tab = (typeof tabs)[number]["id"];

/** A step of the way from the repository's page to the current one. */
export interface Crumb {
  readonly text: string;
  readonly href: string;
}

/** A page without its frame. */
export interface PageContent {
  /** The subject of the page; the frame adds the repository. */
  readonly title: string;
  /** HTML. */
  readonly body: string;
}

/** Where a page is in its repository. */
export interface PagePlace {
  readonly links: Links;
  readonly repository: string;
  readonly tab?: Tab;
  /** The pages above this one, without the repository's own. */
  readonly crumbs?: readonly Crumb[];
  /** Whether the header has a search box; by default it has. A page with one of its own says false. */
  readonly hasSearch?: boolean;
}

const sha256 = (text: string): string => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

/** The Content-Security-Policy of pages: nothing but their own style and script. */
export const contentSecurityPolicy: string = [
  "default-src 'none'",
  `style-src ${sha256(style)}`,
  `script-src ${sha256(script)}`,
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
].join("; ");

const document = template<{
  readonly title: string;
  readonly body: string;
  readonly root: string;
  readonly style: string;
  readonly script: string;
  readonly repository: string | undefined;
  readonly home: string;
  /** The feed of uploads; "": there is none. */
  readonly feed: string;
  readonly tabs: readonly { readonly text: string; readonly href: string; readonly isCurrent: boolean }[];
  readonly crumbs: readonly Crumb[];
  readonly searchAction: string;
  readonly hasSearch: boolean;
}>(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title><%= it.title %></title>
<% if (it.feed) { %><link rel="alternate" type="application/atom+xml" title="Uploads to <%= it.repository %>" href="<%= it.feed %>">
<% } %><style><%~ it.style %></style>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header class="top"><div class="wrap">
<% if (it.repository === undefined) { %><a class="brand" href="<%= it.root %>">APT repositories</a>
<% } else { %><a class="brand" href="<%= it.home %>"><%= it.repository %></a>
<% if (it.hasSearch) { %><form class="search" role="search" action="<%= it.searchAction %>"><label class="unseen" for="search">Search for packages</label><input type="search" id="search" name="q" maxlength="200" placeholder="Search packages"><button>Search</button></form>
<% } %><nav aria-label="Repository" class="tabs"><% for (const tab of it.tabs) { %><a href="<%= tab.href %>"<% if (tab.isCurrent) { %> aria-current="page"<% } %>><%= tab.text %></a><% } %></nav>
<% } %></div></header>
<main id="main" tabindex="-1"><div class="wrap">
<% if (it.crumbs.length > 0) { %><nav class="crumbs" aria-label="Breadcrumbs"><ol><% for (const crumb of it.crumbs) { %><li><a href="<%= crumb.href %>"><%= crumb.text %></a></li><% } %></ol></nav>
<% } %><%~ it.body %>
</div></main>
<footer class="foot"><div class="wrap"><p><% if (it.repository !== undefined) { %><a href="<%= it.root %>">All repositories</a> · <% } %>Times are in UTC. Served by tahoe-apt from a Tahoe-LAFS tree.</p></div></footer>
<script><%~ it.script %></script>
</body>
</html>
`);

/** Renders a page of a repository. */
export function renderPage({ title, body }: PageContent, place: PagePlace): string {
  const { links, repository, tab, crumbs = [], hasSearch = true } = place;
  const way = tab === "home" ? [] : [{ text: repository, href: links.home }, ...crumbs];
  return document({
    title: tab === "home" ? title : `${title} – ${repository}`,
    body,
    root: links.root,
    style,
    script,
    repository,
    home: links.home,
    feed: links.feed(),
    tabs: tabs.map(({ id, text, of }) => ({ text, href: of(links), isCurrent: id === tab })),
    crumbs: way,
    searchAction: links.packages(),
    hasSearch,
  });
}

/** Renders a page that belongs to no repository. @param root as for `Links` */
export const renderPlainPage = ({ title, body }: PageContent, root: string): string =>
  document({
    title,
    body,
    root,
    style,
    script,
    repository: undefined,
    home: root,
    feed: "",
    tabs: [],
    crumbs: [],
    searchAction: "",
    hasSearch: false,
  });
