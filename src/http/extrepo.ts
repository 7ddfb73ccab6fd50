// A description of the repository as extrepo's collection takes it: extrepo-data, repos/debian/NAME.yaml.
import type { RepositoryName } from "../base/names.ts";
import type { PublicKey, RepositoryStatus } from "../publishing/served-repository.ts";
import { typesOf } from "./deb822-source.ts";

const areas: ReadonlySet<string> = new Set(["contrib", "non-free"]);

/**
 * Renders the snippet. What a machine can't know is a guess that its maintainer looks over: the description, and that
 * a component which is not called after one of Debian's areas follows the policy of main.
 * @param uri where the repository is mounted, without a trailing slash
 * @see extrepo(1p)
 */
export function renderExtrepo(name: RepositoryName, uri: string, key: PublicKey, status: RepositoryStatus): string {
  // Its collection knows one place for each entry: flat repositories count where there is nothing else.
  const belowDists = status.suites.filter(({ at }) => at === undefined);
  const suites = belowDists.length > 0 ? belowDists : status.suites.slice(0, 1);
  const [{ at = "" } = {}] = suites;
  const union = (of: (suite: RepositoryStatus["suites"][number]) => readonly string[]): readonly string[] =>
    [...new Set(suites.flatMap(of))].toSorted();
  const components = union((suite) => suite.components);
  const isFlat = components.length === 0;
  // JSON's strings are YAML's too, and keep whatever is in a name from being syntax.
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
