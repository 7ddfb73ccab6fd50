// The front page: all repositories that anybody may read.

import { publicSuiteName } from "../../publishing/live/flat-names.ts";
import type { ServedRepository } from "../../publishing/served-repository.ts";
import { template } from "../html/templates.ts";
import { renderPlainPage } from "./frame.ts";

const body = template<{
  readonly repositories: readonly {
    readonly name: string;
    readonly suites: readonly string[];
    readonly packages: number;
    readonly publishedSeconds: number | undefined;
  }[];
}>(`<h1>APT repositories</h1>
<% if (it.repositories.length === 0) { %><p>No repository is open to everybody.</p><% } else { %>
<ul class="cards">
<% for (const one of it.repositories) { %><li><h2><a href="./<%= one.name %>/"><%= one.name %></a></h2>
<% if (one.suites.length === 0) { %><p class="quiet">Nothing is published yet.</p><% } else { %><p><%= it.count(one.packages, "package") %> in <%= one.suites.join(", ") %></p>
<p class="quiet"><small>Updated <%~ it.timeHtml(one.publishedSeconds) %></small></p><% } %></li>
<% } %></ul>
<% } %>`);

/** Renders the front page. */
export function renderListPage(repositories: readonly ServedRepository[]): string {
  const shown = repositories.map((repository) => {
    const { suites } = repository.status();
    return {
      name: repository.name,
      suites: suites.map(publicSuiteName),
      packages: suites.reduce((sum, { binaryPackages, sourcePackages }) => sum + binaryPackages + sourcePackages, 0),
      publishedSeconds: suites.length === 0 ? undefined : Math.max(...suites.map(({ dateSeconds }) => dateSeconds)),
    };
  });
  return renderPlainPage({ title: "APT repositories", body: body({ repositories: shown }) }, "./");
}
