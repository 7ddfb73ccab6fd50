// Which suites have a slash in their names, as whoever changes a tree knows it: nothing in a path tells it.
import { tryParseSuite } from "../base/names.ts";
import { Layout } from "../catalog/layout/repository-layout.ts";
import type { Bundle } from "./bundle.ts";
import type { TokenDescription } from "./ping-client.ts";

/** Whether this names a suite that a path alone does not tell from a component of the suite above. */
export const hasSlash = (suite: string): boolean => suite.includes("/");

/**
 * Where things are in the tree that a bundle opens. What the server says goes before what the bundle says.
 * @param described what the server says of the bundle's token; undefined where it was not asked or does not answer
 * @param named suites that were asked for by name: whoever does not know them otherwise takes them for suites
 */
export function layoutFor(
  { suitesWithSlash = [] }: Pick<Bundle, "suitesWithSlash">,
  described: TokenDescription | undefined,
  named: readonly string[],
): Layout {
  if (described?.suitesWithSlash !== undefined) return new Layout(suitesIn(described.suitesWithSlash));
  const served = (described?.suites ?? []).map(({ suite }) => suite);
  return new Layout([...suitesWithSlash, ...suitesIn([...served, ...named])]);
}

const suitesIn = (names: readonly string[]) => names.filter(hasSlash).flatMap((name) => tryParseSuite(name) ?? []);

/** Why a suite can't be what was asked for by name; undefined where nothing speaks against it. */
export function whyNoSuite(suite: string, described: TokenDescription | undefined): string | undefined {
  if (!hasSlash(suite) || described?.suitesWithSlash?.includes(suite) !== false) return undefined;
  return `the server takes dists/${suite} for a part of another suite: to make it a suite, ${tableFor(suite)}`;
}

/** What the operator has to do for a server to serve a suite with a slash in its name. */
export const tableFor = (suite: string): string =>
  `its configuration needs [repository.suite.${JSON.stringify(suite)}]`;
