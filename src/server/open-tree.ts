// Puts a tree together from its backend and what wraps it: the one place that knows in which order.
import { plainLayout } from "../catalog/layout/repository-layout.ts";
import type { Limits, TreeConfiguration } from "../config/configuration.ts";
import { FailoverHealthCheck, FailoverTree } from "../storage/decorators/failover-tree.ts";
import type { FairShareKeyOf } from "../storage/decorators/limited-tree.ts";
import { LimitedTree } from "../storage/decorators/limited-tree.ts";
import { RetryingTree } from "../storage/decorators/retrying-tree.ts";
import { FolderTree } from "../storage/folder/folder-tree.ts";
import type { HardLinks } from "../storage/folder/hard-links.ts";
import type { HealthCheck } from "../storage/health.ts";
import type { ReadCap, WriteCap } from "../storage/tahoe/caps.ts";
import { ListingReader } from "../storage/tahoe/listing.ts";
import { Webapi } from "../storage/tahoe/webapi.ts";
import { WebapiHealthCheck } from "../storage/tahoe/webapi-health.ts";
import { WebapiTree } from "../storage/tahoe/webapi-tree.ts";
import type { Tree } from "../storage/tree.ts";

/** A directory of a grid and the gateways to it, which stand in for each other; at least one. */
export interface GridTree {
  readonly gateways: readonly string[];
  readonly cap: ReadCap | WriteCap;
  /** Certificates, in PEM, that are trusted for them beside those that everybody trusts. */
  readonly gatewayCa?: string | undefined;
}

const builderByPlace: FairShareKeyOf = (path) => plainLayout.builderDirectoryOf(path);

/**
 * @param measured wraps each backend: what is measured is the storage itself
 * @param builderOf whose looks they are; by default each directory directly below a place is a builder's
 */
export function openTree(
  tree: TreeConfiguration,
  limits: Limits,
  keptFiles: HardLinks | undefined,
  measured: (tree: Tree) => Tree,
  builderOf: FairShareKeyOf = builderByPlace,
): Tree {
  if (tree.kind === "folder") return measured(new FolderTree(tree.directory, limits.folder, keptFiles, builderOf));
  return openGridTree({ ...tree, cap: tree.readCap }, limits, measured, builderOf);
}

/** Retries stand outside of the limits, so that one that waits for its next attempt holds no place. */
export function openGridTree(
  { gateways, cap, gatewayCa }: GridTree,
  limits: Limits,
  measured: (tree: Tree) => Tree = (tree) => tree,
  builderOf: FairShareKeyOf = builderByPlace,
): Tree {
  const webapis = each(gateways, (url) => new Webapi(url, limits.webapi, gatewayCa));
  const listings = listingsWithin(limits);
  Webapi.setFallbacks(webapis);
  const trees = each(webapis, (webapi) => measured(new WebapiTree(webapi, cap, listings)));
  return new RetryingTree(new LimitedTree(new FailoverTree(trees), limits.tree, builderOf));
}

const readers = new WeakMap<Limits["listing"], ListingReader>();

/** One for all trees of a configuration: what it bounds is this process' time and memory. */
function listingsWithin({ listing }: Limits): ListingReader {
  const known = readers.get(listing) ?? new ListingReader(listing);
  readers.set(listing, known);
  return known;
}

/** What checks the objects of a directory and all below it. */
export const openHealthCheck = ({ gateways, cap, gatewayCa }: GridTree, limits: Limits): HealthCheck =>
  new FailoverHealthCheck(
    each(gateways, (url) => new WebapiHealthCheck(new Webapi(url, limits.webapi, gatewayCa), cap)),
  );

function each<G, T>(gateways: readonly G[], open: (gateway: G) => T): readonly [T, ...T[]] {
  const [first, ...others] = gateways.map(open);
  if (first === undefined) throw new Error("a configuration without a gateway was let through");
  return [first, ...others];
}
