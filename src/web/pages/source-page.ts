// The page of a source package: its versions, their files, the packages that are built from it, its changelog.
import type { SourceDetail, SourcePackageVersion } from "../data/repository-data.ts";
import type { Links } from "../html/links.ts";
import { template } from "../html/templates.ts";
import { fitting, lengthAt } from "./fitting.ts";
import { builderHtml } from "./fragments.ts";
import { renderPage } from "./frame.ts";
import { allRelationsHtml } from "./package-lists.ts";
import { personHtml } from "./package-page.ts";
import type { PageRequest, PageSource } from "./page-context.ts";

const maxVersions = 8;
/** Of each version. */
const maxFiles = 40;
const maxRelations = 150;
const maxBinaries = 60;
const maxUploaders = 20;

const body = template<{
  readonly links: Links;
  readonly detail: SourceDetail;
  readonly newest: SourcePackageVersion | undefined;
  readonly people: readonly string[];
  readonly versions: readonly SourcePackageVersion[];
  readonly moreVersions: number;
  readonly binaries: SourceDetail["binaries"]["entries"];
  readonly moreBinaries: number;
  readonly relations: string;
  readonly builderHtml: typeof builderHtml;
  readonly maxFiles: number;
}>(`<h1><%= it.detail.name %> <small>source package</small></h1>
<% if (it.newest === undefined) { %><p class="note">The repository has packages that were built from this source, but not the source itself.</p>
<% } else { %><div class="snippet"><pre>apt source <%= it.detail.name %></pre></div>
<dl class="facts">
<dt>Version</dt><dd><%= it.newest.version %></dd>
<% if (it.people.length > 0) { %><dt>Maintainers</dt><dd><% for (const person of it.people) { %><div><%~ person %></div><% } %></dd>
<% } %><% if (it.newest.homepage) { %><dt>Homepage</dt><dd><a rel="nofollow noopener" href="<%= it.newest.homepage %>"><%= it.newest.homepage %></a></dd>
<% } %><% if (it.newest.vcsBrowser) { %><dt>Packaging</dt><dd><a rel="nofollow noopener" href="<%= it.newest.vcsBrowser %>"><%= it.newest.vcsBrowser %></a></dd>
<% } %><% if (it.newest.section) { %><dt>Section</dt><dd><%= it.newest.section %></dd>
<% } %><dt>Architectures</dt><dd><%= it.newest.architectures.join(" ") %></dd>
<% if (it.newest.standardsVersion) { %><dt>Standards version</dt><dd><%= it.newest.standardsVersion %></dd>
<% } %></dl>
<% } %>
<% if (it.binaries.length > 0) { %><h2>Packages built from it</h2>
<table class="stack">
<thead><tr><th scope="col">Package</th><th scope="col">Suite</th><th scope="col">Version</th></tr></thead>
<tbody>
<% for (const one of it.binaries) { %><tr><th scope="row"><a href="<%= it.links.package(one.name) %>"><%= one.name %></a></th><td data-label="Suite"><%= one.suite %></td><td data-label="Version"><%= one.version %></td></tr>
<% } %></tbody>
</table>
<% if (it.moreBinaries > 0) { %><p>And <%= it.moreBinaries %> more.</p><% } %>
<% } %>
<% if (it.relations) { %><h2>Needed to build it</h2>
<%~ it.relations %>
<% } %>
<% for (const one of it.versions) { %><h2><%= one.version %> <small>in <%= one.suite %> <%= one.component %></small></h2>
<p class="quiet">uploaded <%~ it.timeHtml(one.uploadedSeconds) %><% if (one.builder) { %> by <%~ it.builderHtml(it.links, one.builder) %><% } %></p>
<table class="stack">
<thead><tr><th scope="col">File</th><th scope="col" class="number">Size</th><th scope="col">SHA256</th></tr></thead>
<tbody>
<% for (const file of one.files.slice(0, it.maxFiles)) { %><tr><th scope="row"><a href="<%= it.links.home + file.path %>"><%= file.name %></a></th><td data-label="Size" class="number"><%= it.size(file.sizeBytes) %></td><td data-label="SHA256" class="path"><%= file.sha256 %></td></tr>
<% } %></tbody>
</table>
<% if (one.files.length > it.maxFiles) { %><p>And <%= one.files.length - it.maxFiles %> more.</p><% } %>
<% } %><% if (it.moreVersions > 0) { %><p>And <%= it.moreVersions %> more versions.</p><% } %>`);

/** Renders the page. @returns undefined if nothing is known of this source package */
export async function renderSourcePage(
  name: string,
  { data, repository }: PageSource,
  { links, signal }: PageRequest,
): Promise<string | undefined> {
  const detail = await data.source(name, signal);
  if (detail === undefined) return undefined;
  const versions = detail.suites.flatMap((suite) => suite.versions);
  const [newest] = versions;
  const people = newest === undefined ? [] : [newest.maintainer ?? [], newest.uploaders.slice(0, maxUploaders)].flat();
  const { entries, total } = detail.binaries;
  const render = (share: number) =>
    body({
      links,
      detail,
      newest,
      people: people.map(personHtml),
      versions: versions.slice(0, lengthAt(share, maxVersions)),
      moreVersions: versions.length - lengthAt(share, maxVersions),
      binaries: entries.slice(0, lengthAt(share, maxBinaries)),
      moreBinaries: total - Math.min(entries.length, lengthAt(share, maxBinaries)),
      relations: allRelationsHtml(links, newest?.relations ?? [], lengthAt(share, maxRelations)).html,
      builderHtml,
      maxFiles: lengthAt(share, maxFiles),
    });
  const crumbs = [{ text: "Packages", href: links.packages() }];
  const place = { links, repository: repository.name, tab: "packages", crumbs } as const;
  return await fitting((share) => renderPage({ title: `${name} (source)`, body: render(share) }, place));
}
