// A deb822 source that an APT user drops into sources.list.d: the repository's place, contents and key in one file.
import type { PublicKey, RepositoryStatus, SuiteStatus } from "../publishing/served.ts";

/**
 * Renders a `.sources` file. Suites that hold the same components and architectures share a stanza; a suite without
 * components is a flat repository.
 * @param uri where the repository is mounted, without a trailing slash
 * @see sources.list(5)
 */
export function renderDeb822Source(uri: string, key: PublicKey, status: RepositoryStatus): string {
  const groups = new Map<string, SuiteStatus[]>();
  for (const suite of status.suites) {
    const likeness = JSON.stringify([suite.at, suite.components, realArchitectures(suite)]);
    groups.set(likeness, [...(groups.get(likeness) ?? []), suite]);
  }
  return [...groups.values()].map((suites) => renderStanza(uri, key, suites)).join("\n");
}

function renderStanza(uri: string, key: PublicKey, suites: readonly SuiteStatus[]): string {
  const [{ components } = { components: [] }] = suites;
  const architectures = suites.slice(0, 1).flatMap(realArchitectures);
  const isFlat = components.length === 0;
  const [{ at = "" } = {}] = suites;
  const fields = [
    "Types: deb deb-src",
    `URIs: ${at === "" ? uri : `${uri}/${encodeURI(at)}`}`,
    `Suites: ${isFlat ? "./" : suites.map(({ suite }) => suite).join(" ")}`,
    ...(isFlat ? [] : [`Components: ${components.join(" ")}`]),
    // Named, so that a machine with a foreign architecture does not ask for indices that are not there.
    ...(architectures.length === 0 ? [] : [`Architectures: ${architectures.join(" ")}`]),
    "Signed-By:",
    ...key.armored
      .trimEnd()
      .split("\n")
      .map((line) => ` ${line.trimEnd() === "" ? "." : line.trimEnd()}`),
  ];
  return `${fields.join("\n")}\n`;
}

/** Those that a machine can have. */
export const realArchitectures = ({ architectures }: SuiteStatus): readonly string[] =>
  architectures.filter((architecture) => architecture !== "all" && architecture !== "source");
