// Renders the HTML pages: the list of repositories, and for each how to add it, its suites, pending and rejected files.
import { Eta } from "eta";
import { httpDate } from "../base/clock.ts";
import type { RepositoryName } from "../base/names.ts";
import { nameOnMachines } from "../publishing/build/archive-keyring.ts";
import { publicSuiteName } from "../publishing/live/flat-names.ts";
import type { ServedRepository } from "../publishing/served-repository.ts";
import { redact } from "./error-responses.ts";

/** The maximum number of rejected or pending files on a page; the others are only counted. */
const maxFilesShown = 200;
/** The maximum number of missing files shown for a source package. */
const maxMissingShown = 10;

const frame = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title><%= it.title %></title>
<style>
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-weight: 600; } h2 { margin-top: 2rem; font-size: 1.2rem; }
pre { padding: .8rem 1rem; overflow-x: auto; background: color-mix(in srgb, currentcolor 8%, transparent); border-radius: .4rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid color-mix(in srgb, currentcolor 20%, transparent); vertical-align: top; }
td.number, th.number { text-align: right; }
td.path { overflow-wrap: anywhere; font-family: ui-monospace, monospace; font-size: .9em; }
.trouble { border-left: .3rem solid #c33; padding-left: .8rem; }
</style>
</head>
<body>
<%~ it.body %>
</body>
</html>
`;

const listPage = `<h1>APT repositories</h1>
<% if (it.names.length === 0) { %><p>None is mounted.</p><% } else { %>
<ul>
<% for (const name of it.names) { %><li><a href="/<%= name %>/"><%= name %></a></li>
<% } %></ul>
<% } %>`;

const repositoryPage = `<h1><%= it.name %></h1>
<% if (it.trouble) { %><p class="trouble"><%= it.trouble %></p><% } %>
<% for (const notice of it.notices) { %><p class="trouble"><%= notice %></p>
<% } %><h2>Add it</h2>
<pre>curl -fsS <% if (it.isPrivate) { %>-u READER <% } %><%= it.uri %>/<%= it.name %>.sources | sudo tee /etc/apt/sources.list.d/<%= it.nameOnMachines %>.sources
sudo apt update</pre>
<% if (it.isPrivate) { %><p>This repository is for its readers. apt takes their names and passwords from a file in
<code>/etc/apt/auth.conf.d</code>, whose name ends in <code>.conf</code>:</p>
<pre>machine <%= it.uri %> login READER password PASSWORD</pre>
<% } %><p>The file <a href="<%= it.name %>.sources"><%= it.name %>.sources</a> holds the <a href="key.asc">key</a> that signs the
repository, and its fingerprint is</p>
<pre><%= it.fingerprints.join("\\n") %></pre>
<h2>What is in it</h2>
<% if (it.suites.length === 0) { %><p>Nothing is published yet.</p><% } else { %>
<table>
<tr><th>Suite</th><th>Components</th><th>Architectures</th><th class="number">Packages</th><th class="number">Sources</th><th>Date</th></tr>
<% for (const suite of it.suites) { %><tr>
<td><%= suite.name %></td><td><%= suite.components.join(" ") %></td><td><%= suite.architectures.join(" ") %></td>
<td class="number"><%= suite.binaryPackages %></td><td class="number"><%= suite.sourcePackages %></td>
<td><%= suite.date %><% if (suite.rolledBackTo) { %>, rolled back to <%= suite.rolledBackTo %><% } %></td>
</tr>
<% } %></table>
<p>Earlier states are kept: <a href="snapshots/">the past of <%= it.name %></a>.</p>
<% } %>
<% if (it.pending.length > 0) { %><h2>What waits for files</h2>
<table>
<tr><th>Source package</th><th>Not there yet</th></tr>
<% for (const source of it.pending) { %><tr><td class="path"><%= source.path %></td><td class="path"><%= source.missing.join(" ") %><% if (source.moreMissing > 0) { %> and <%= source.moreMissing %> more<% } %></td></tr>
<% } %></table>
<% if (it.morePending > 0) { %><p>And <%= it.morePending %> more.</p><% } %>
<% } %>
<% if (it.uninspected.length > 0) { %><h2>What is still being inspected</h2>
<table>
<tr><th>File</th></tr>
<% for (const path of it.uninspected) { %><tr><td class="path"><%= path %></td></tr>
<% } %></table>
<% if (it.moreUninspected > 0) { %><p>And <%= it.moreUninspected %> more.</p><% } %>
<% } %>
<h2>What was rejected, and why</h2>
<% if (it.rejected.length === 0) { %><p>Nothing.</p><% } else { %>
<table>
<tr><th>File</th><th>Reason</th></tr>
<% for (const file of it.rejected) { %><tr><td class="path"><%= file.path %></td><td><%= file.reason %> (<%= file.code %>)</td></tr>
<% } %></table>
<% if (it.moreRejected > 0) { %><p>And <%= it.moreRejected %> more.</p><% } %>
<% } %>`;

const eta = new Eta({ autoEscape: true, autoTrim: false });
eta.loadTemplate("@frame", frame);
eta.loadTemplate("@list", listPage);
eta.loadTemplate("@repository", repositoryPage);

/** Renders a whole page around a body. @param title is escaped here @param body HTML */
export const renderFrame = (title: string, body: string): string => eta.render("@frame", { title, body });

/** The front page, as HTML. */
export const renderList = (names: Iterable<RepositoryName>): string =>
  renderFrame("APT repositories", eta.render("@list", { names: [...names] }));

/**
 * A repository's page, as HTML.
 * @param uri the URL of the repository, without a trailing slash
 * @param isPrivate whether only its readers can read it
 */
export function renderRepository(uri: string, repository: ServedRepository, isPrivate: boolean): string {
  const { name, key } = repository;
  const { suites, rejected, untoldRejections = 0, pending, notices, notReady, lastError } = repository.status();
  const uninspected = pending.filter(({ inspecting }) => inspecting);
  const incomplete = pending.filter(({ inspecting }) => !inspecting);
  const body = eta.render("@repository", {
    uri,
    name,
    nameOnMachines: nameOnMachines(name),
    isPrivate,
    fingerprints: key.fingerprints.map((fingerprint) => fingerprint.replace(/(.{4})(?=.)/g, "$1 ")),
    notices: notices.map(redact),
    trouble: redact(notReady ?? lastError ?? ""),
    suites: suites.map((suite) => ({ ...suite, name: publicSuiteName(suite), date: httpDate(suite.dateSeconds) })),
    pending: incomplete.slice(0, maxFilesShown).map(({ path, missing }) => ({
      path,
      missing: missing.slice(0, maxMissingShown),
      moreMissing: missing.length - maxMissingShown,
    })),
    morePending: incomplete.length - maxFilesShown,
    uninspected: uninspected.slice(0, maxFilesShown).map(({ path }) => path),
    moreUninspected: uninspected.length - maxFilesShown,
    rejected: rejected.slice(0, maxFilesShown).map((file) => ({ ...file, reason: redact(file.reason) })),
    moreRejected: rejected.length + untoldRejections - maxFilesShown,
  });
  return renderFrame(`${name} – APT repository`, body);
}
