// Observers that nobody listens to.
import type { PackageCacheObserver } from "../../src/publishing/package-cache.ts";

export const silentCacheObserver: PackageCacheObserver = {
  hit() {},
  miss() {},
  bypassed() {},
  filled() {},
  evicted() {},
  mismatched() {},
  holds() {},
};
