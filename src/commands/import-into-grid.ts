// Opens the target of an import into a grid.
import { systemClock } from "../base/clock.ts";
import type { TreePath } from "../base/names.ts";
import type { InspectorPool } from "../catalog/inspection/inspector-pool.ts";
import type { Layout } from "../catalog/layout/repository-layout.ts";
import type { Bundle, PingAddress } from "../client/bundle.ts";
import { GridTarget } from "../client/import/grid-target.ts";
import type { ImportObserver } from "../client/import/import.ts";
import type { ImportTarget } from "../client/import/import-target.ts";
import { rejectRevokedBundle } from "../client/ping-client.ts";
import { layoutFor, reasonNotSuite } from "../client/suites-with-slash.ts";
import { WriteGateways } from "../client/write-gateways.ts";
import { ConfigurationError } from "../config/configuration-error.ts";
import { treeOf } from "./shared/run-curation.ts";
import { warnWaiting } from "./shared/terminal.ts";

/** @throws ConfigurationError for a target that the server treats as a part of another suite */
export async function gridTarget(
  bundle: Bundle,
  targets: readonly string[],
  {
    subdirectory,
    pool,
    signal,
    observer,
  }: {
    readonly subdirectory: TreePath | undefined;
    readonly pool: InspectorPool;
    readonly signal: AbortSignal;
    readonly observer: ImportObserver;
  },
): Promise<[ImportTarget, { readonly layout: Layout; readonly ping: PingAddress | undefined }]> {
  const description = await rejectRevokedBundle(bundle, warnWaiting, signal);
  const mistakes = targets.flatMap((suite) => reasonNotSuite(suite, description) ?? []);
  if (mistakes.length > 0) throw new ConfigurationError(mistakes.map((mistake) => `--suite: ${mistake}`));
  const layout = layoutFor(bundle, description, targets);
  const target = new GridTarget({
    bundle,
    gateways: new WriteGateways(bundle.gateways, bundle.gatewayCa),
    tree: treeOf(bundle),
    layout,
    subdirectory,
    pool,
    clock: systemClock,
    signal,
    note: (text) => observer.note(text),
  });
  return [target, { layout, ping: bundle.ping }];
}
