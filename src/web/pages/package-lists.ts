// The complete lists of a package whose page shows only their beginnings: relations, what needs it, installed files.
import type { Dependent, RelationField } from "../data/repository-data.ts";
import { escapeHtml } from "../html/escape.ts";
import type { Links } from "../html/links.ts";
import { template } from "../html/templates.ts";
import { fitting, lengthAt } from "./fitting.ts";
import { pagesHtml } from "./fragments.ts";
import { renderPage } from "./frame.ts";
import type { PageRequest, PageSource } from "./page-context.ts";
import { relationsHtml } from "./relations.ts";

const dependentsPerPage = 150;
/** How many groups of all relations together are shown: no real package has so many. */
const maxGroups = 350;
/** How many characters of paths are shown: a page must stay small. */
const maxPathCharacters = 40_000;

const dependentsBody = template<{
  readonly links: Links;
  readonly name: string;
  readonly dependents: readonly Dependent[];
  readonly total: number;
  readonly pages: string;
}>(`<h1>Needed by <small><%= it.total === 1 ? "one relation" : it.integer(it.total) + " relations" %></small></h1>
<p>The packages whose relations name <a href="<%= it.links.package(it.name) %>"><%= it.name %></a>, or something that it provides.</p>
<% if (it.dependents.length > 0) { %><ul class="plain">
<% for (const one of it.dependents) { %><li><a href="<%= it.links.package(one.name) %>"><%= one.name %></a> <span class="quiet"><%= one.version %> in <%= one.suite %>: <%= one.field %><% if (one.on !== it.name) { %> <%= one.on %><% } %></span></li>
<% } %></ul>
<%~ it.pages %><% } %>`);

async function renderDependents(
  name: string,
  { data }: PageSource,
  request: PageRequest,
  share: number,
): Promise<string> {
  const { links, query, signal } = request;
  const cursor = query.get("cursor") ?? undefined;
  const { entries, total, next } = await data.dependents(
    name,
    { cursor, limit: lengthAt(share, dependentsPerPage) },
    signal,
  );
  return dependentsBody({ links, name, dependents: entries, total, pages: pagesHtml({ cursor }, next) });
}

async function renderRelations(
  name: string,
  { data }: PageSource,
  request: PageRequest,
  share: number,
): Promise<string | undefined> {
  const { links, signal } = request;
  const newest = (await data.package(name, signal))?.newest;
  return newest && `<h1>Relations</h1>${allRelationsHtml(links, newest.relations, lengthAt(share, maxGroups)).html}`;
}

async function renderFiles(name: string, { data }: PageSource, { signal }: PageRequest): Promise<string | undefined> {
  const [file] = (await data.package(name, signal))?.newest?.files ?? [];
  const listing = file && (await data.files(file.sha256, signal));
  if (listing === undefined) return undefined;
  const { entries, total } = listing.paths;
  let characters = 0;
  const shown: string[] = [];
  for (const path of entries) {
    characters += path.length + 1;
    if (characters > maxPathCharacters) break;
    shown.push(path);
  }
  const more = total > shown.length ? `<p>And ${total - shown.length} more.</p>` : "";
  const about = escapeHtml(`${listing.version}, ${listing.architecture}`);
  return `<h1>Installed files <small>${about}</small></h1><pre>${escapeHtml(shown.join("\n"))}</pre>${more}`;
}

const lists = {
  dependents: { title: "Needed by", render: renderDependents },
  relations: { title: "Relations", render: renderRelations },
  files: { title: "Installed files", render: renderFiles },
} as const;

/** Renders one of the lists. @returns undefined if there is no such list, or nothing is known of the package */
export async function renderPackageList(
  [name, list]: readonly [name: string, list: string],
  source: PageSource,
  request: PageRequest,
): Promise<string | undefined> {
  const found = Object.entries(lists).find(([each]) => each === list)?.[1];
  if (found === undefined) return undefined;
  const { links } = request;
  const crumbs = [
    { text: "Packages", href: links.packages() },
    { text: name, href: links.package(name) },
  ];
  const place = { links, repository: source.repository.name, tab: "packages", crumbs } as const;
  return await fitting(async (share) => {
    const body = await found.render(name, source, request, share);
    return body === undefined ? undefined : renderPage({ title: `${found.title}: ${name}`, body }, place);
  });
}

/**
 * Shows relations, at most so many groups of all fields together.
 * @returns HTML, and the number of groups that are not shown
 */
export function allRelationsHtml(
  links: Links,
  relations: readonly RelationField[],
  maxShown: number,
): { readonly html: string; readonly more: number } {
  let left = maxShown;
  let more = 0;
  const rows = relations.map(({ field, groups }) => {
    const shown = groups.slice(0, Math.max(0, left));
    left -= shown.length;
    more += groups.length - shown.length;
    const rest = groups.length > shown.length ? `<p class="quiet">and ${groups.length - shown.length} more</p>` : "";
    return `<dt>${field}</dt><dd>${relationsHtml(links, shown)}${rest}</dd>`;
  });
  return { html: rows.length === 0 ? "" : `<dl class="facts">${rows.join("\n")}</dl>`, more };
}
