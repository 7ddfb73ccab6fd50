// Renders the .sources file (deb822 format) for sources.list.d: the repository's URL, suites and key.
import type { PublicKey, RepositoryStatus, SuiteStatus } from "../../publishing/served-repository.ts";

/**
 * Renders a `.sources` file. Suites with the same components and types of packages share a stanza; a suite without
 * components is a flat repository. There is no Architectures field: without it each machine fetches the indices of its
 * own architectures, including those added to the repository later. With it apt would fetch the indices of all listed
 * architectures, and offer their packages for installation.
 * @param uri the URL of the repository, without a trailing slash
 * @see sources.list(5)
 */
export function renderDeb822Source(uri: string, key: PublicKey, status: RepositoryStatus): string {
  const groups = new Map<string, SuiteStatus[]>();
  for (const suite of status.suites) {
    const likeness = JSON.stringify([suite.at, suite.components, typesOf([suite])]);
    groups.set(likeness, [...(groups.get(likeness) ?? []), suite]);
  }
  return [...groups.values()].map((suites) => renderStanza(uri, key, suites)).join("\n");
}

function renderStanza(uri: string, key: PublicKey, suites: readonly SuiteStatus[]): string {
  const [{ components } = { components: [] }] = suites;
  const isFlat = components.length === 0;
  const [{ at = "" } = {}] = suites;
  const fields = [
    `Types: ${typesOf(suites)}`,
    `URIs: ${at === "" ? uri : `${uri}/${encodeURI(at)}`}`,
    `Suites: ${isFlat ? "./" : suites.map(({ suite }) => suite).join(" ")}`,
    ...(isFlat ? [] : [`Components: ${components.join(" ")}`]),
    "Signed-By:",
    ...key.armored
      .trimEnd()
      .split("\n")
      .map((line) => ` ${line.trimEnd() === "" ? "." : line.trimEnd()}`),
  ];
  return `${fields.join("\n")}\n`;
}

/**
 * The value of Types: only `deb-src` for a repository with source packages only, because apt warns about missing binary
 * indices. A suite with an empty directory for binary packages has an (empty) binary index.
 */
export const typesOf = (suites: readonly SuiteStatus[]): string =>
  suites.some(({ sourcePackages }) => sourcePackages > 0) && !suites.some(hasBinaries) ? "deb-src" : "deb deb-src";

const hasBinaries = ({ binaryPackages, architectures }: SuiteStatus): boolean =>
  binaryPackages > 0 || architectures.some((architecture) => architecture !== "source");
