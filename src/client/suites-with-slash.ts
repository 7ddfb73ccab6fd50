// Finds out which suites of a tree have a slash in their names, which paths alone do not show.
import { tryParseSuite } from "../base/names.ts";
import { Layout } from "../catalog/layout/repository-layout.ts";
import type { Bundle } from "./bundle.ts";
import type { TokenDescription } from "./ping-client.ts";

/** Whether a path alone cannot distinguish this suite from a component of the suite above it. */
export const hasSlash = (suite: string): boolean => suite.includes("/");

/**
 * The layout of the tree of a bundle. The server's description has priority over the bundle.
 * @param description the description of the bundle's token; undefined if the server was not queried or did not respond
 * @param named names that the user gave as suites: if neither the server nor the bundle decides, they count as suites
 */
export function layoutFor(
  { suitesWithSlash = [] }: Pick<Bundle, "suitesWithSlash">,
  description: TokenDescription | undefined,
  named: readonly string[],
): Layout {
  if (description?.suitesWithSlash !== undefined) return new Layout(suitesIn(description.suitesWithSlash));
  const served = (description?.suites ?? []).map(({ suite }) => suite);
  return new Layout([...suitesWithSlash, ...suitesIn([...served, ...named])]);
}

const suitesIn = (names: readonly string[]) => names.filter(hasSlash).flatMap((name) => tryParseSuite(name) ?? []);

/** Why the server does not accept this name as a suite; undefined if it does, or if this is unknown. */
export function reasonNotSuite(suite: string, description: TokenDescription | undefined): string | undefined {
  if (!hasSlash(suite) || description?.suitesWithSlash?.includes(suite) !== false) return undefined;
  return `the server treats dists/${suite} as a part of another suite: to make it a suite, ${requiredTableFor(suite)}`;
}

/** Tells the operator which configuration table a suite with a slash in its name requires. */
export const requiredTableFor = (suite: string): string =>
  `its configuration needs [repository.suite.${JSON.stringify(suite)}]`;
