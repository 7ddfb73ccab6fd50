// Opens a tree: its backend, and the decorators around it in the right order.
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

/** A directory of a grid, and at least one gateway. If one gateway fails, another one is used. */
export interface GridTree {
  readonly gateways: readonly string[];
  readonly cap: ReadCap | WriteCap;
  /** Additional trusted certificates for the gateways, in PEM. */
  readonly gatewayCa?: string | undefined;
}

const defaultBuilderOf: FairShareKeyOf = (path) => plainLayout.builderDirectoryOf(path);

/**
 * Opens the tree of a repository.
 * @param measured decorates each backend, so that only the storage itself is measured
 * @param builderOf returns the builder whose share of the listings a path uses; by default each directory directly
 * below
 *   a package directory has a share
 */
export function openTree(
  tree: TreeConfiguration,
  limits: Limits,
  keptFiles: HardLinks | undefined,
  measured: (tree: Tree) => Tree,
  builderOf: FairShareKeyOf = defaultBuilderOf,
): Tree {
  if (tree.kind === "folder") return measured(new FolderTree(tree.directory, limits.folder, keptFiles, builderOf));
  return openGridTree({ ...tree, cap: tree.readCap }, limits, measured, builderOf);
}

/** Retries are outside of the limits, so that a request that waits for its next attempt does not count. */
export function openGridTree(
  { gateways, cap, gatewayCa }: GridTree,
  limits: Limits,
  measured: (tree: Tree) => Tree = (tree) => tree,
  builderOf: FairShareKeyOf = defaultBuilderOf,
): Tree {
  const webapis = each(gateways, (url) => new Webapi(url, limits.webapi, gatewayCa));
  const listings = listingsWithin(limits);
  Webapi.setFallbacks(webapis);
  const trees = each(webapis, (webapi) => measured(new WebapiTree(webapi, cap, listings)));
  return new RetryingTree(new LimitedTree(new FailoverTree(trees), limits.tree, builderOf));
}

const listingReaders = new WeakMap<Limits["listing"], ListingReader>();

/** Returns the reader that all trees with the same limits share, because it bounds time and memory of the process. */
function listingsWithin({ listing }: Limits): ListingReader {
  const known = listingReaders.get(listing) ?? new ListingReader(listing);
  listingReaders.set(listing, known);
  return known;
}

/** Opens the health check of a directory and everything below it. */
export const openHealthCheck = ({ gateways, cap, gatewayCa }: GridTree, limits: Limits): HealthCheck =>
  new FailoverHealthCheck(
    each(gateways, (url) => new WebapiHealthCheck(new Webapi(url, limits.webapi, gatewayCa), cap)),
  );

function each<G, T>(gateways: readonly G[], open: (gateway: G) => T): readonly [T, ...T[]] {
  const [first, ...others] = gateways.map(open);
  if (first === undefined) throw new Error("the configuration has no gateway");
  return [first, ...others];
}
