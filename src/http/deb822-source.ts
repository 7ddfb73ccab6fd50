// A deb822 source that an APT user drops into sources.list.d: the repository's place, contents and key in one file.
import type { PublicKey, RepositoryStatus, SuiteStatus } from "../publishing/served-repository.ts";

/**
 * Renders a `.sources` file. Suites that hold the same components and types of packages share a stanza; a suite without
 * components is a flat repository. There is no Architectures field: without it each machine fetches the indices of its
 * own architectures, also of one that comes to the repository later; with it apt would fetch, and offer for installation,
 * the packages of all that it names.
 * @param uri where the repository is mounted, without a trailing slash
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
 * `deb-src` alone for a repository of sources alone, which has no index of binary packages: apt would complain of that.
 * A suite with a place for binary packages that is still empty has an index of them.
 */
export const typesOf = (suites: readonly SuiteStatus[]): string =>
  suites.some(({ sourcePackages }) => sourcePackages > 0) && !suites.some(hasBinaries) ? "deb-src" : "deb deb-src";

const hasBinaries = ({ binaryPackages, architectures }: SuiteStatus): boolean =>
  binaryPackages > 0 || architectures.some((architecture) => architecture !== "source");
