// Periodic work beside refreshes: its failures do not fail the ping during which it runs.
import { expect, test } from "vitest";
import type { Log } from "../../../src/base/log.ts";
import { silentLog } from "../../../src/base/log.ts";
import { written } from "../../../src/base/state-errors.ts";
import { Maintenance } from "../../../src/publishing/live/maintenance.ts";

test("if the disk is too full to remove old publications, a refresh succeeds nevertheless, and the failure is logged", async () => {
  const logged: object[] = [];
  const log: Log = { ...silentLog, error: (context, text) => void logged.push({ ...context, text }) };
  let nowMs = Date.UTC(2026, 10, 22);
  // Only the parts that this uses. The write fails as lmdb's writes do on a full disk.
  const maintenance = new Maintenance({
    stateName: "debian",
    store: { sweep: () => written(() => Promise.reject(new Error("Commit failed"))) },
    deferredQueue: {
      unlessBusy: async (task: () => Promise<void>) => {
        await task();
        return true;
      },
    },
    now: () => nowMs,
    keepSeconds: 0,
    log,
  } as unknown as ConstructorParameters<typeof Maintenance>[0]);
  await maintenance.afterRefresh([]);
  await maintenance.afterRefresh([]);
  expect(logged).toMatchObject([
    { text: "old publications could not be removed", repository: "debian", err: { code: "state/unwritable" } },
  ]);
  nowMs += 2 * 3600 * 1000;
  await maintenance.afterRefresh([]);
  expect(logged).toHaveLength(2);
});
