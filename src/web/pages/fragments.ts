// Parts that several pages show in the same way: builders, uploads, rejects, next pages.
import { redact } from "../../base/redact.ts";
import type { PendingUpload, Reject, Upload } from "../data/repository-data.ts";
import { escapeHtml } from "../html/escape.ts";
import { builderName } from "../html/formats.ts";
import type { Links, QueryValues } from "../html/links.ts";
import { queryOf } from "../html/links.ts";
import { template } from "../html/templates.ts";

/** A link to a builder's page; "" without a builder. */
export const builderHtml = (links: Links, directory: string | undefined): string =>
  directory === undefined
    ? ""
    : `<a href="${escapeHtml(links.builder(directory))}">${escapeHtml(builderName(directory))}</a>`;

const uploads = template<{
  readonly links: Links;
  readonly uploads: readonly Upload[];
  readonly builder: typeof builderHtml;
  readonly hasBuilders: boolean;
}>(`<table class="stack">
<thead><tr><th scope="col">Package</th><th scope="col">Version</th><th scope="col">Suite</th><th scope="col">Architecture</th><th scope="col">Uploaded</th><% if (it.hasBuilders) { %><th scope="col">By</th><% } %></tr></thead>
<tbody>
<% for (const one of it.uploads) { %><tr><th scope="row"><a href="<%= one.isSource ? it.links.source(one.name) : it.links.package(one.name) %>"><%= one.name %></a></th><td data-label="Version"><%= one.version %></td><td data-label="Suite"><%= one.suite %></td><td data-label="Architecture"><%= one.architecture %></td><td data-label="Uploaded"><%~ it.timeHtml(one.uploadedSeconds) %></td><% if (it.hasBuilders) { %><td data-label="By"><%~ it.builder(it.links, one.builder) %></td><% } %></tr>
<% } %></tbody>
</table>`);

/**
 * A table of uploads. Uploads of one version for several architectures share a row.
 * @param hasBuilders whether there is a column with the builders
 */
export function uploadsHtml(links: Links, some: readonly Upload[], hasBuilders = true): string {
  const rows = new Map<string, Upload>();
  for (const upload of some) {
    const { name, version, suite, component, isSource } = upload;
    const key = JSON.stringify([name, version, suite, component, isSource]);
    const row = rows.get(key);
    rows.set(key, row === undefined ? upload : { ...row, architecture: `${row.architecture} ${upload.architecture}` });
  }
  const sorted = [...rows.values()].map((row) => ({
    ...row,
    architecture: row.architecture.split(" ").toSorted().join(" "),
  }));
  return uploads({ links, uploads: sorted, builder: builderHtml, hasBuilders });
}

const rejects = template<{ readonly rejects: readonly Reject[] }>(`<table class="stack">
<thead><tr><th scope="col">File</th><th scope="col">Reason</th><th scope="col">What to do</th></tr></thead>
<tbody>
<% for (const file of it.rejects) { %><tr><td class="path"><%~ it.pathHtml(file.path) %></td><td data-label="Reason" class="wide"><%= file.reason %> (<%= file.code %>)</td><td data-label="What to do" class="wide"><%= file.advice %></td></tr>
<% } %></tbody>
</table>`);

/** A table of rejected files. */
export const rejectsHtml = (some: readonly Reject[]): string =>
  rejects({ rejects: some.map((file) => ({ ...file, reason: redact(file.reason) })) });

/** How many missing files of a source package are shown. */
const maxMissingShown = 10;

const pending = template<{
  readonly pending: readonly (PendingUpload & { readonly shown: readonly string[]; readonly more: number })[];
}>(`<table class="stack">
<thead><tr><th scope="col">File</th><th scope="col">Waits for</th></tr></thead>
<tbody>
<% for (const file of it.pending) { %><tr><td class="path"><%= file.path %></td><td data-label="Waits for" class="path"><% if (file.isBeingInspected) { %>its inspection<% } else { %><%= file.shown.join(" ") %><% if (file.more > 0) { %> and <%= file.more %> more<% } %><% } %></td></tr>
<% } %></tbody>
</table>`);

/** A table of files that are in no index yet. */
export const pendingHtml = (some: readonly PendingUpload[]): string =>
  pending({
    pending: some.map((file) => ({
      ...file,
      shown: file.missing.slice(0, maxMissingShown),
      more: file.missing.length - maxMissingShown,
    })),
  });

/**
 * Links to the first and the next page of a list.
 * @param values the parameters of the current page
 * @param next the position of the next page; undefined on the last one
 * @param position the parameter with the position of a page, which the first page does not have
 */
export function pagesHtml(values: QueryValues, next: string | undefined, position = "cursor"): string {
  const first = { ...values, [position]: undefined };
  const isFirst = (values[position] ?? "") === "";
  const links = [
    ...(isFirst ? [] : [`<li><a href="${escapeHtml(queryOf(first) || "?")}">First page</a></li>`]),
    ...(next === undefined
      ? []
      : [`<li><a rel="next" href="${escapeHtml(queryOf({ ...first, [position]: next }))}">Next page</a></li>`]),
  ];
  return links.length === 0 ? "" : `<nav aria-label="Pages"><ul class="pages">${links.join("")}</ul></nav>`;
}
