// Observers that nobody listens to.
import type { TreeObserver } from "../../src/observe/measured-tree.ts";
import type { PackageCacheObserver } from "../../src/publishing/serve/package-cache.ts";

export const silentCacheObserver: PackageCacheObserver = {
  hit() {},
  miss() {},
  bypassed() {},
  filled() {},
  evicted() {},
  mismatched() {},
  holds() {},
};

export const silentTreeObserver: TreeObserver = { looked() {}, read() {}, failed() {} };
