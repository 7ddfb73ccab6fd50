// A directory of the repository, like the listing of a web server.
import type { DirectoryListing, ServedRepository } from "../../publishing/served-repository.ts";
import { pathHtml } from "../html/formats.ts";
import type { Links } from "../html/links.ts";
import { template } from "../html/templates.ts";
import { pagesHtml } from "./fragments.ts";
import { renderPage } from "./frame.ts";

/** How many entries a page has. */
export const entriesPerPage = 100;

const body = template<{
  /** HTML. */
  readonly heading: string;
  readonly up: string | undefined;
  readonly entries: readonly {
    readonly text: string;
    readonly href: string;
    readonly holds: string;
    readonly sizeBytes: number | undefined;
    readonly modifiedSeconds: number | undefined;
  }[];
  readonly isIncomplete: boolean;
  readonly pages: string;
}>(`<h1><%~ it.heading %></h1>
<% if (it.isIncomplete) { %><p class="note">The storage is not available now: only files that the server made are shown.</p>
<% } %><% if (it.entries.length === 0) { %><p>This directory is empty.</p><% } else { %>
<table class="stack">
<thead><tr><th scope="col">Name</th><th scope="col" class="number">Size</th><th scope="col">Modified</th></tr></thead>
<tbody>
<% if (it.up) { %><tr><td class="path"><a href="<%= it.up %>">../<span class="unseen"> parent directory</span></a></td><td></td><td></td></tr>
<% } %><% for (const one of it.entries) { %><tr><td class="path"><a href="<%= one.href %>"><%= one.text %></a><% if (one.holds) { %> <span class="quiet"><%= one.holds %></span><% } %></td><td class="number"><%= it.size(one.sizeBytes) %></td><td><%~ it.timeHtml(one.modifiedSeconds) %></td></tr>
<% } %></tbody>
</table>
<%~ it.pages %><% } %>`);

/** The directory, and the part of it to show. */
export interface DirectoryRequest {
  /** Below the repository's root, without slashes at its ends; "" for the root. */
  readonly path: string;
  /** The name after which this page begins; "" for the first page. */
  readonly after: string;
  readonly links: Links;
}

/** Renders the page. */
export function renderDirectoryPage(
  { name }: ServedRepository,
  { entries, hasMore, isIncomplete }: DirectoryListing,
  { path, after, links }: DirectoryRequest,
): string {
  const names = path === "" ? [] : path.split("/");
  const last = entries.at(-1)?.name;
  const html = body({
    heading: path === "" ? "Files" : pathHtml(`${path}/`),
    up:
      names.length === 0
        ? undefined
        : names.length === 1
          ? links.page("files")
          : links.file(`${names.slice(0, -1).join("/")}/`),
    entries: entries.map((entry) => {
      const isDirectory = entry.kind === "directory";
      const shown = isDirectory ? `${entry.name}/` : entry.name;
      return {
        text: shown,
        href: links.file(path === "" ? shown : `${path}/${shown}`),
        holds: entry.holds?.join(", ") ?? "",
        sizeBytes: entry.sizeBytes,
        modifiedSeconds: entry.modifiedSeconds,
      };
    }),
    isIncomplete: isIncomplete === true,
    pages: pagesHtml({ after }, hasMore ? last : undefined, "after"),
  });
  const crumbs = names
    .map((text, at) => ({ text, href: links.file(`${names.slice(0, at + 1).join("/")}/`) }))
    .slice(0, -1);
  return renderPage(
    { title: path === "" ? "Files" : `${path}/`, body: html },
    {
      links,
      repository: name,
      tab: "files",
      crumbs: path === "" ? [] : [{ text: "Files", href: links.page("files") }, ...crumbs],
    },
  );
}
