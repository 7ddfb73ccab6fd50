// Finds the pages of a repository by their paths below `/NAME/`.
import { renderBuilderPage, renderBuildersPage } from "./builder-pages.ts";
import { renderDiffPage } from "./diff-page.ts";
import { entriesPerPage, renderDirectoryPage } from "./directory-page.ts";
import { renderHealthPage } from "./health-page.ts";
import { renderPackageList } from "./package-lists.ts";
import { renderPackagePage } from "./package-page.ts";
import { renderPackagesPage } from "./packages-page.ts";
import type { PageRequest, PageSource } from "./page-context.ts";
import { renderRejectsPage } from "./rejects-page.ts";
import { renderRepositoryPage } from "./repository-page.ts";
import { renderSnapshotsPage } from "./snapshots-page.ts";
import { renderSourcePage } from "./source-page.ts";

/**
 * Renders the page at a path.
 * @param path below `/NAME/`: "" for the repository's own page, or `-/…`; without a trailing slash
 * @returns HTML; undefined if there is no such page
 */
export async function renderPageAt(
  path: string,
  source: PageSource,
  request: PageRequest,
): Promise<string | undefined> {
  if (path === "") return await renderRepositoryPage(source, request);
  const [prefix, page, ...rest] = path.split("/");
  if (prefix !== "-") return undefined;
  const [name] = rest;
  const isAlone = name === undefined;
  switch (page ?? "") {
    case "packages":
      if (isAlone) return await renderPackagesPage(source, request);
      if (rest.length === 1) return await renderPackagePage(name, source, request);
      return rest.length === 2 ? await renderPackageList([name, rest[1] ?? ""], source, request) : undefined;
    case "sources":
      return rest.length === 1 && !isAlone ? await renderSourcePage(name, source, request) : undefined;
    case "builders":
      return isAlone
        ? await renderBuildersPage(source, request)
        : await renderBuilderPage(rest.join("/"), source, request);
    case "rejects":
      return isAlone ? await renderRejectsPage(source, request) : undefined;
    case "snapshots":
      return isAlone ? await renderSnapshotsPage(source, request) : undefined;
    case "diff":
      return isAlone ? await renderDiffPage(source, request) : undefined;
    case "health":
      return isAlone ? renderHealthPage(source, request) : undefined;
    case "files":
      return isAlone ? await renderDirectoryAt("", source, request) : undefined;
    default:
      return undefined;
  }
}

/**
 * Renders a directory of the repository.
 * @param path below `/NAME/`, without a trailing slash
 * @returns HTML; undefined if there is no such directory
 */
export async function renderDirectoryAt(
  path: string,
  { repository }: PageSource,
  { links, query, signal }: PageRequest,
): Promise<string | undefined> {
  const after = query.get("after") ?? "";
  const listing = await repository.list(path, { after, limit: entriesPerPage }, signal);
  return listing && renderDirectoryPage(repository, listing, { path, after, links });
}
