// The page of a repository: how to add it, what is in it, what is new.
import type { RepositoryName } from "../../base/names.ts";
import { redact } from "../../base/redact.ts";
import { nameOnMachines } from "../../publishing/build/archive-keyring.ts";
import { publicSuiteName } from "../../publishing/live/flat-names.ts";
import type { SuiteStatus } from "../../publishing/served-repository.ts";
import type { Upload } from "../data/repository-data.ts";
import { fingerprint } from "../html/formats.ts";
import type { Links } from "../html/links.ts";
import { template } from "../html/templates.ts";
import { renderDeb822Source } from "./deb822-source.ts";
import { uploadsHtml } from "./fragments.ts";
import { renderPage } from "./frame.ts";
import type { HealthSummary } from "./health-summary.ts";
import { summaryOfHealth } from "./health-summary.ts";
import type { PageRequest, PageSource } from "./page-context.ts";

/** How many of the newest uploads are shown. */
const uploadsShown = 10;

/** Releases of Debian and Ubuntu, whose names machines know as VERSION_CODENAME. */
const releases: ReadonlySet<string> = new Set(
  "buster bullseye bookworm trixie forky duke sid focal jammy noble plucky questing resolute".split(" "),
);

/** How to add a suite, or all of them. */
interface Commands {
  readonly sources: string;
  readonly oneLine: readonly string[];
}

const body = template<{
  readonly name: string;
  readonly nameOnMachines: string;
  readonly links: Links;
  readonly uri: string;
  readonly isPrivate: boolean;
  readonly health: HealthSummary;
  readonly troubles: readonly string[];
  readonly choices: readonly { readonly text: string; readonly href: string; readonly isChosen: boolean }[];
  readonly commands: Commands | undefined;
  readonly deb822: string;
  readonly fingerprints: readonly string[];
  readonly suites: readonly (SuiteStatus & { readonly publicName: string; readonly directory: string })[];
  readonly rejects: number;
  readonly pending: number;
  readonly uploads: readonly Upload[];
  readonly uploadsHtml: string;
}>(`<h1><%= it.name %></h1>
<p><a class="state <%= it.health.level %>" href="<%= it.links.page("health") %>"><%= it.health.text %></a><% if (it.rejects > 0) { %> · <a href="<%= it.links.page("rejects") %>"><%= it.count(it.rejects, "rejected file") %></a><% } %><% if (it.pending > 0) { %> · <a href="<%= it.links.page("rejects") %>#pending"><%= it.count(it.pending, "file") %> waiting</a><% } %></p>
<% for (const trouble of it.troubles) { %><p class="note"><%= trouble %></p>
<% } %><form class="search big" role="search" action="<%= it.links.packages() %>"><label class="unseen" for="search">Search for packages</label><input type="search" id="search" name="q" maxlength="200" placeholder="Search packages"><button>Search</button></form>
<h2 id="add">Add this repository</h2>
<% if (it.commands === undefined) { %><p>Nothing is published yet, so there is nothing to add.</p><% } else { %>
<% if (it.choices.length > 0) { %><ul class="choices" aria-label="Suites to add"><% for (const choice of it.choices) { %><li><a href="<%= choice.href %>"<% if (choice.isChosen) { %> aria-current="true"<% } %>><%= choice.text %></a></li><% } %></ul>
<% } %><% if (it.isPrivate) { %><p>This repository is for its readers. apt takes their names and passwords from a file in <code>/etc/apt/auth.conf.d</code> whose name ends in <code>.conf</code>:</p>
<div class="snippet"><pre>machine <%= it.uri %> login READER password PASSWORD</pre></div>
<p>Then add the repository with your name:</p>
<% } %><div class="snippet"><pre><%= it.commands.sources %></pre></div>
<p class="quiet">The file <a href="<%= it.links.file(it.name + ".sources") %>"><%= it.name %>.sources</a> contains the <a href="<%= it.links.file("key.asc") %>">key</a> that signs the repository. Its fingerprint:</p>
<pre><%= it.fingerprints.join("\\n") %></pre>
<% if (it.deb822) { %><details><summary>The file itself, in the deb822 form</summary>
<div class="snippet"><pre><%= it.deb822 %></pre></div>
</details>
<% } %><details><summary>The one-line form, for older systems</summary>
<div class="snippet"><pre><%= it.commands.oneLine.join("\\n") %></pre></div>
</details>
<% } %>
<h2>Suites</h2>
<% if (it.suites.length === 0) { %><p>Nothing is published yet.</p><% } else { %>
<table class="stack">
<thead><tr><th scope="col">Suite</th><th scope="col">Components</th><th scope="col">Architectures</th><th scope="col" class="number">Packages</th><th scope="col" class="number">Sources</th><th scope="col">Date</th><th scope="col"><span class="unseen">Files and feed</span></th></tr></thead>
<tbody>
<% for (const suite of it.suites) { %><tr><th scope="row"><a href="<%= it.links.packages({ suite: suite.publicName }) %>"><%= suite.publicName %></a></th><td data-label="Components"><%= suite.components.join(" ") %></td><td data-label="Architectures"><%= suite.architectures.join(" ") %></td><td data-label="Packages" class="number"><%= it.integer(suite.binaryPackages) %></td><td data-label="Sources" class="number"><%= it.integer(suite.sourcePackages) %></td><td data-label="Date"><%~ it.timeHtml(suite.dateSeconds) %><% if (suite.rolledBackTo) { %>, rolled back to <%= suite.rolledBackTo %><% } %></td><td><a href="<%= it.links.file(suite.directory) %>">Files<span class="unseen"> of <%= suite.publicName %></span></a> · <a href="<%= it.links.feed(suite.publicName) %>">Feed<span class="unseen"> of uploads to <%= suite.publicName %></span></a></td></tr>
<% } %></tbody>
</table>
<p class="quiet">Earlier states are kept: see the <a href="<%= it.links.page("snapshots") %>">snapshots</a>.</p>
<% } %>
<% if (it.uploads.length > 0) { %><h2>Newest uploads</h2>
<%~ it.uploadsHtml %>
<p class="quiet">To follow them: the <a href="<%= it.links.feed() %>">feed of all uploads</a>, for feed readers.</p>
<% } %>`);

/** Renders the page. */
export async function renderRepositoryPage(source: PageSource, request: PageRequest): Promise<string> {
  const { repository, data } = source;
  const { links, uri, isPrivate, signal, nowSeconds } = request;
  const { name, key } = repository;
  const { suites, rejected, untoldRejections = 0, pending, notices, notReady, lastError } = repository.status();
  const { entries: uploads } = await data.uploads({ limit: uploadsShown }, signal);
  const chosen = chosenSuite(suites, request.query.get("suite"));
  const html = body({
    name,
    nameOnMachines: nameOnMachines(name),
    links,
    uri,
    isPrivate,
    health: summaryOfHealth(data.health(), nowSeconds),
    troubles: [notReady ?? lastError ?? [], notices].flat().map(redact),
    choices: choicesOf(suites, chosen),
    commands: suites.length === 0 ? undefined : commandsOf(name, suites, chosen, request),
    deb822: suites.length === 0 || chosen === "machine" ? "" : deb822Of(suites, chosen, source, uri),
    fingerprints: key.fingerprints.map(fingerprint),
    suites: suites.map((suite) => ({
      ...suite,
      publicName: publicSuiteName(suite),
      directory: suite.at === undefined ? `dists/${suite.suite}/` : suite.at === "" ? "-/files/" : `${suite.at}/`,
    })),
    rejects: rejected.length + untoldRejections,
    pending: pending.length,
    uploads,
    uploadsHtml: uploadsHtml(links, uploads),
  });
  return renderPage(
    { title: `${name} – APT repository`, body: html },
    { links, repository: name, tab: "home", hasSearch: false },
  );
}

/** "machine": the suite of the release that the user's machine runs. */
type Choice = SuiteStatus | "machine" | "all";

function chosenSuite(suites: readonly SuiteStatus[], asked: string | null): Choice {
  const named = suites.find((suite) => publicSuiteName(suite) === asked);
  if (named !== undefined) return named;
  if (asked === "all" || suites.length < 2) return "all";
  return suites.some((suite) => releases.has(suite.suite)) ? "machine" : "all";
}

function choicesOf(suites: readonly SuiteStatus[], chosen: Choice) {
  if (suites.length < 2) return [];
  const some = suites.some((suite) => releases.has(suite.suite));
  const choice = (text: string, value: string, isChosen: boolean) => ({
    text,
    href: `?suite=${encodeURIComponent(value)}#add`,
    isChosen,
  });
  return [
    ...(some ? [choice("the release of this machine", "", chosen === "machine")] : []),
    ...suites.map((suite) => choice(publicSuiteName(suite), publicSuiteName(suite), chosen === suite)),
    choice("all suites", "all", chosen === "all"),
  ];
}

const codename = "$(. /etc/os-release && echo $VERSION_CODENAME)";

function commandsOf(
  name: RepositoryName,
  suites: readonly SuiteStatus[],
  chosen: Choice,
  { uri, isPrivate }: PageRequest,
): Commands {
  const onMachines = nameOnMachines(name);
  const curl = `curl -fsS ${isPrivate ? "-u READER " : ""}`;
  const file = `${uri}/${name}.sources`;
  const suite =
    chosen === "machine" ? codename : chosen === "all" ? undefined : encodeURIComponent(publicSuiteName(chosen));
  const address = suite === undefined ? file : `"${file}?suite=${suite}"`;
  const keyring = `/etc/apt/keyrings/${onMachines}.asc`;
  const shown = typeof chosen === "object" ? [chosen] : suites;
  const lines =
    chosen === "machine"
      ? [`deb [signed-by=${keyring}] ${uri} ${codename} ${componentsOf(suites).join(" ")}`]
      : shown.map((one) => `deb [signed-by=${keyring}] ${oneLineOf(one, uri)}`);
  return {
    sources: `${curl}${address} | sudo tee /etc/apt/sources.list.d/${onMachines}.sources\nsudo apt update`,
    oneLine: [
      "sudo mkdir -p /etc/apt/keyrings",
      `curl -fsS ${uri}/key.asc | sudo tee ${keyring}`,
      ...lines.map(
        (line, at) => `echo "${line}" | sudo tee ${at === 0 ? "" : "-a "}/etc/apt/sources.list.d/${onMachines}.list`,
      ),
      "sudo apt update",
    ],
  };
}

function deb822Of(suites: readonly SuiteStatus[], chosen: Choice, { repository }: PageSource, uri: string): string {
  const shown = typeof chosen === "object" ? [chosen] : suites;
  return renderDeb822Source(uri, repository.key, { ...repository.status(), suites: shown });
}

const componentsOf = (suites: readonly SuiteStatus[]): readonly string[] =>
  [...new Set(suites.filter(({ at }) => at === undefined).flatMap(({ components }) => components))].toSorted();

function oneLineOf({ suite, at, components }: SuiteStatus, uri: string): string {
  if (at === undefined) return `${uri} ${suite} ${components.join(" ")}`;
  return `${at === "" ? uri : `${uri}/${encodeURI(at)}`} ./`;
}
