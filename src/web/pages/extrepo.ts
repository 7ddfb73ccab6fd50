// Renders the repository's description for extrepo-data (repos/debian/NAME.yaml).
import type { RepositoryName } from "../../base/names.ts";
import type { PublicKey, RepositoryStatus } from "../../publishing/served-repository.ts";
import { typesOf } from "./deb822-source.ts";

const areas: ReadonlySet<string> = new Set(["contrib", "non-free"]);

/**
 * Renders the file. Two values are guesses that the maintainer must check: the description, and the policy `main` for
 * components that are not named like one of Debian's areas.
 * @param uri the URL of the repository, without a trailing slash
 * @see extrepo(1p)
 */
export function renderExtrepo(name: RepositoryName, uri: string, key: PublicKey, status: RepositoryStatus): string {
  // An entry has one URL: flat repositories are used only if there is nothing else.
  const belowDists = status.suites.filter(({ at }) => at === undefined);
  const suites = belowDists.length > 0 ? belowDists : status.suites.slice(0, 1);
  const [{ at = "" } = {}] = suites;
  const union = (of: (suite: RepositoryStatus["suites"][number]) => readonly string[]): readonly string[] =>
    [...new Set(suites.flatMap(of))].toSorted();
  const components = union((suite) => suite.components);
  const isFlat = components.length === 0;
  // JSON strings are valid YAML, and escape everything that would be syntax.
  const lines = [
    "---",
    `description: ${JSON.stringify(`The APT repository ${name}`)}`,
    "source:",
    `  Types: ${typesOf(suites)}`,
    `  URIs: ${JSON.stringify(at === "" ? uri : `${uri}/${encodeURI(at)}`)}`,
    `  Suites: ${isFlat ? "./" : "<SUITE>"}`,
    ...(isFlat ? [] : ["  Components: <COMPONENTS>"]),
    ...(isFlat
      ? ["policy: main"]
      : [
          "suites:",
          ...suites.map(({ suite }) => `- ${JSON.stringify(suite)}`),
          "components:",
          ...components.map((component) => `- ${JSON.stringify(component)}`),
          "policies:",
          ...components.map((one) => `  ${JSON.stringify(one)}: ${areas.has(one) ? one : "main"}`),
        ]),
    "gpg-key: |",
    ...key.armored
      .trimEnd()
      .split("\n")
      .map((line) => `  ${line}`.trimEnd()),
  ];
  return `${lines.join("\n")}\n`;
}
