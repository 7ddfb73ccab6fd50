// The page of a package: what it is, its versions and files, what it needs and what needs it, its history.
import { redact } from "../../base/redact.ts";
import type {
  Changelog,
  Description,
  FileListing,
  HiddenPackage,
  PackageDetail,
  PackageVersion,
  Person,
} from "../data/repository-data.ts";
import { escapeHtml } from "../html/escape.ts";
import type { Links } from "../html/links.ts";
import { template } from "../html/templates.ts";
import { fitting, lengthAt } from "./fitting.ts";
import { builderHtml } from "./fragments.ts";
import { renderPage } from "./frame.ts";
import { allRelationsHtml } from "./package-lists.ts";
import type { PageRequest, PageSource } from "./page-context.ts";

/** The usual lengths of the lists; complete ones are on pages of their own. */
const maxPaths = 100;
const maxRelations = 150;
const maxDependents = 50;
const maxFiles = 40;
const maxVersions = 40;
const maxHidden = 20;
const maxEarlier = 20;
const maxChangelogCharacters = 6000;
const maxDescriptionCharacters = 8000;
const maxShortDescription = 500;

/** The shown part of a long list. */
interface Shown<Entry> {
  readonly entries: readonly Entry[];
  readonly more: number;
}

const firstOf = <Entry>(entries: readonly Entry[], max: number, total = entries.length): Shown<Entry> => ({
  entries: entries.slice(0, max),
  more: total - Math.min(max, entries.length),
});

const body = template<{
  readonly links: Links;
  readonly detail: PackageDetail;
  readonly newest: PackageVersion | undefined;
  readonly description: string;
  readonly maintainer: string;
  readonly versions: Shown<PackageVersion>;
  readonly relations: { readonly html: string; readonly more: number };
  readonly dependents: Shown<PackageDetail["dependents"]["entries"][number]>;
  readonly files: Shown<PackageVersion["files"][number] & { readonly version: string; readonly suite: string }>;
  readonly listing: FileListing | undefined;
  readonly paths: Shown<string>;
  readonly changelog: Changelog | undefined;
  readonly hidden: Shown<HiddenPackage>;
  readonly earlier: Shown<PackageDetail["earlier"]["entries"][number]>;
  readonly builderHtml: typeof builderHtml;
  readonly redact: typeof redact;
  readonly maxShortDescription: number;
  /** Markdown; "": no other page can show the badge. */
  readonly badge: string;
}>(`<h1><%= it.detail.name %><% if (it.newest) { %> <small><%= it.newest.version %></small><% } %></h1>
<% if (it.newest === undefined) { %><p class="note">No suite lists a package of this name now.</p>
<% } else { %><% if (it.newest.description) { %><p class="lead"><%= it.cut(it.newest.description.short, it.maxShortDescription) %></p><% } %>
<div class="split"><div>
<div class="snippet"><pre>sudo apt install <%= it.detail.name %></pre></div>
<%~ it.description %>
</div>
<aside aria-label="Facts"><dl class="facts">
<dt>Source</dt><dd><a href="<%= it.links.source(it.newest.source.name) %>"><%= it.newest.source.name %></a><% if (it.newest.source.version !== it.newest.version) { %> <%= it.newest.source.version %><% } %></dd>
<% if (it.maintainer) { %><dt>Maintainer</dt><dd><%~ it.maintainer %></dd>
<% } %><% if (it.newest.homepage) { %><dt>Homepage</dt><dd><a rel="nofollow noopener" href="<%= it.newest.homepage %>"><%= it.newest.homepage %></a></dd>
<% } %><% if (it.newest.section) { %><dt>Section</dt><dd><%= it.newest.section %></dd>
<% } %><% if (it.newest.priority) { %><dt>Priority</dt><dd><%= it.newest.priority %><% if (it.newest.isEssential) { %>, essential<% } %></dd>
<% } %></dl></aside></div>
<h2>Versions</h2>
<table class="stack">
<thead><tr><th scope="col">Suite</th><th scope="col">Version</th><th scope="col">Component</th><th scope="col">Architectures</th><th scope="col">Uploaded</th><th scope="col">By</th></tr></thead>
<tbody>
<% for (const one of it.versions.entries) { %><tr><th scope="row"><%= one.suite %></th><td data-label="Version"><%= one.version %><% if (one.phasedPercent !== undefined) { %> <span class="tag">offered to <%= one.phasedPercent %>% of machines</span><% } %></td><td data-label="Component"><%= one.component %></td><td data-label="Architectures"><%= one.files.map((file) => file.architecture).join(" ") %></td><td data-label="Uploaded"><%~ it.timeHtml(one.files[0]?.uploadedSeconds) %></td><td data-label="By"><%~ it.builderHtml(it.links, one.files[0]?.builder) %></td></tr>
<% } %></tbody>
</table>
<% if (it.versions.more > 0) { %><p>And <%= it.versions.more %> more.</p><% } %>
<% } %>
<% if (it.hidden.entries.length > 0) { %><h2>Not offered to apt</h2>
<table class="stack">
<thead><tr><th scope="col">File</th><th scope="col">Suite</th><th scope="col">Why</th></tr></thead>
<tbody>
<% for (const one of it.hidden.entries) { %><tr><td class="path"><%= one.path %></td><td data-label="Suite"><%= one.suite %></td><td data-label="Why" class="wide"><% if (one.reason.kind === "view") { %>A view of the suite hides it.<% } else if (one.reason.kind === "pending") { %>It waits for <%= one.reason.missing.slice(0, 5).join(", ") || "its inspection" %>.<% } else { %><%= it.redact(one.reason.text) %> (<%= one.reason.code %>). <%= one.reason.advice %><% } %></td></tr>
<% } %></tbody>
</table>
<% if (it.hidden.more > 0) { %><p>And <%= it.hidden.more %> more.</p><% } %>
<% } %>
<% if (it.relations.html) { %><h2>Relations</h2>
<%~ it.relations.html %>
<% if (it.relations.more > 0) { %><p><a href="<%= it.links.package(it.detail.name) %>/relations">All relations</a></p><% } %>
<% } %>
<% if (it.dependents.entries.length > 0) { %><h2>Needed by</h2>
<ul class="plain">
<% for (const one of it.dependents.entries) { %><li><a href="<%= it.links.package(one.name) %>"><%= one.name %></a> <span class="quiet"><%= one.version %> in <%= one.suite %>: <%= one.field %><% if (one.on !== it.detail.name) { %> <%= one.on %><% } %></span></li>
<% } %></ul>
<% if (it.dependents.more > 0) { %><p><a href="<%= it.links.package(it.detail.name) %>/dependents">All that need it</a></p><% } %>
<% } %>
<% if (it.files.entries.length > 0) { %><h2>Files</h2>
<table class="stack">
<thead><tr><th scope="col">Architecture</th><th scope="col">Version</th><th scope="col">Suite</th><th scope="col" class="number">Size</th><th scope="col" class="number">Installed</th><th scope="col">SHA256</th></tr></thead>
<tbody>
<% for (const file of it.files.entries) { %><tr><th scope="row"><a href="<%= it.links.home + file.path %>"><%= file.architecture %><span class="unseen"> package <%= file.version %></span></a><% if (file.isForInstaller) { %> <span class="tag">installer</span><% } %></th><td data-label="Version"><%= file.version %></td><td data-label="Suite"><%= file.suite %></td><td data-label="Size" class="number"><%= it.size(file.sizeBytes) %></td><td data-label="Installed" class="number"><%= it.size(file.installedBytes) %></td><td data-label="SHA256" class="path"><%= file.sha256 %></td></tr>
<% } %></tbody>
</table>
<% if (it.files.more > 0) { %><p>And <%= it.files.more %> more.</p><% } %>
<% } %>
<% if (it.listing) { %><details><summary><%= it.count(it.listing.paths.total, "installed file") %> (<%= it.listing.version %>, <%= it.listing.architecture %>)</summary>
<pre><%= it.paths.entries.join("\\n") %></pre>
<% if (it.paths.more > 0) { %><p><a href="<%= it.links.package(it.detail.name) %>/files">All installed files</a></p><% } %></details>
<% } %>
<% if (it.changelog) { %><h2>Changelog</h2>
<pre><%= it.changelog.text %></pre>
<% if (it.changelog.isCut) { %><p>The older entries are not shown. <code>apt changelog <%= it.detail.name %></code> shows all.</p><% } %>
<% } %>
<% if (it.earlier.entries.length > 0) { %><h2>Earlier versions</h2>
<table class="stack">
<thead><tr><th scope="col">Version</th><th scope="col">Suite</th><th scope="col">Architecture</th><th scope="col">Newest snapshot with it</th><th scope="col">Served since</th></tr></thead>
<tbody>
<% for (const one of it.earlier.entries) { %><tr><th scope="row"><%= one.version %></th><td data-label="Suite"><%= one.suite %></td><td data-label="Architecture"><%= one.architecture %></td><td data-label="Snapshot"><a href="<%= it.links.file("snapshots/" + one.snapshot + "/") %>"><%= one.snapshot %></a></td><td data-label="Served since"><%~ it.timeHtml(one.snapshotSeconds) %></td></tr>
<% } %></tbody>
</table>
<% if (it.earlier.more > 0) { %><p>And <%= it.earlier.more %> more.</p><% } %>
<% } %>
<% if (it.badge) { %><details><summary>A badge with the version, for a README</summary>
<p><a href="<%= it.links.badge(it.detail.name) %>">The image</a>, in Markdown:</p>
<div class="snippet"><pre><%= it.badge %></pre></div>
</details>
<% } %>`);

/** Renders the page. @returns undefined if nothing is known of this package */
export async function renderPackagePage(
  name: string,
  { data, repository }: PageSource,
  { links, uri, isPrivate, signal }: PageRequest,
): Promise<string | undefined> {
  const detail = await data.package(name, signal);
  if (detail === undefined) return undefined;
  const { newest, suites, dependents, hidden, earlier } = detail;
  const versions = suites.flatMap((suite) => suite.versions);
  const files = versions.flatMap(({ version, suite, files: some }) =>
    some.map((file) => ({ ...file, version, suite })),
  );
  const [file] = newest?.files ?? [];
  const [listing, changelog] = await Promise.all([
    file && data.files(file.sha256, signal),
    newest && data.changelog(newest.source, signal),
  ]);
  const render = (share: number) =>
    body({
      links,
      detail,
      newest,
      description:
        newest?.description === undefined
          ? ""
          : descriptionHtml(newest.description, lengthAt(share, maxDescriptionCharacters)),
      maintainer: newest?.maintainer === undefined ? "" : personHtml(newest.maintainer),
      versions: firstOf(versions, lengthAt(share, maxVersions)),
      relations: allRelationsHtml(links, newest?.relations ?? [], lengthAt(share, maxRelations)),
      dependents: firstOf(dependents.entries, lengthAt(share, maxDependents), dependents.total),
      files: firstOf(files, lengthAt(share, maxFiles)),
      listing,
      paths: firstOf(listing?.paths.entries ?? [], lengthAt(share, maxPaths), listing?.paths.total),
      changelog: changelog && shortened(changelog, lengthAt(share, maxChangelogCharacters)),
      hidden: firstOf(hidden.entries, lengthAt(share, maxHidden), hidden.total),
      earlier: firstOf(earlier.entries, lengthAt(share, maxEarlier), earlier.total),
      builderHtml,
      redact,
      maxShortDescription,
      badge: newest === undefined || isPrivate ? "" : badgeInMarkdown(name, uri),
    });
  const crumbs = [{ text: "Packages", href: links.packages() }];
  const place = { links, repository: repository.name, tab: "packages", crumbs } as const;
  return await fitting((share) => renderPage({ title: name, body: render(share) }, place));
}

/** An image with the version of a package that leads to its page. @param uri the URL of the repository */
function badgeInMarkdown(name: string, uri: string): string {
  const [image, page] = ["badge", "packages"].map((directory) => {
    const encoded = encodeURIComponent(name).replace(/[()]/g, (character) => (character === "(" ? "%28" : "%29"));
    return `${uri}/-/${directory}/${encoded}`;
  });
  return `[![${name.replace(/[\\[\]]/g, "\\$&")}](${image}.svg)](${page})`;
}

/** The beginning of a changelog, up to the end of a line. */
function shortened({ text, isCut }: Changelog, maxCharacters: number): Changelog {
  if (text.length <= maxCharacters) return { text, isCut };
  return { text: text.slice(0, text.lastIndexOf("\n", maxCharacters) + 1), isCut: true };
}

/** The paragraphs of a description. */
function descriptionHtml({ paragraphs }: Description, maxCharacters: number): string {
  let rest = maxCharacters;
  const shown: string[] = [];
  for (const { kind, text } of paragraphs) {
    if (rest <= 0) break;
    const part = escapeHtml(text.slice(0, rest));
    rest -= text.length;
    shown.push(kind === "verbatim" ? `<pre>${part}</pre>` : `<p>${part}</p>`);
  }
  return shown.join("\n");
}

/** A person with a link to their address. */
export const personHtml = ({ name, email }: Person): string =>
  email === undefined
    ? escapeHtml(name)
    : `${escapeHtml(name || email)} <a href="mailto:${escapeHtml(encodeURIComponent(email).replaceAll("%40", "@"))}">${escapeHtml(email)}</a>`;
