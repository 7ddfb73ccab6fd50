// Observers that ignore everything.
import type { TreeObserver } from "../../src/observe/measured-tree.ts";
import type { PackageCacheObserver } from "../../src/publishing/serve/package-cache.ts";

export const silentCacheObserver: PackageCacheObserver = {
  hit() {},
  miss() {},
  bypassed() {},
  stored() {},
  evicted() {},
  mismatched() {},
  sizeChanged() {},
};

export const silentTreeObserver: TreeObserver = { looked() {}, read() {}, failed() {} };
