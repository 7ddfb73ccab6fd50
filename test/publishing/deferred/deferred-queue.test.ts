// When deferred files are generated: at once for the first publication, later once for a burst of publications.
import { expect, onTestFinished, test } from "vitest";
import { silentLog } from "../../../src/base/log.ts";
import { parseSuite } from "../../../src/base/names.ts";
import { BackgroundPriority } from "../../../src/publishing/deferred/background-priority.ts";
import { DeferredQueue } from "../../../src/publishing/deferred/deferred-queue.ts";
import { silentPublishingObserver } from "../../../src/publishing/publishing-observer.ts";
import type { Manifest } from "../../../src/publishing/store/publication.ts";
import { isPending } from "../../support/unchanged.ts";

test("the first deferred files of a suite are generated at once, and later ones shortly after a publication", async () => {
  const sid = parseSuite("sid");
  const made: string[] = [];
  const hourMs = 3_600_000;
  const times = { settleMs: hourMs, retryMs: hourMs };
  const work = new DeferredQueue({
    generators: [{ name: "all", generate: async () => ({ indices: [], blobs: [] }) }],
    target: {
      inputFor: () => ({ current: {} as Manifest, entries: [], suite: sid }),
      publish: async (suite) => void made.push(suite),
    },
    backgroundPriority: new BackgroundPriority(() => performance.now()),
    observer: silentPublishingObserver,
    log: silentLog,
    now: Date.now,
    times,
  });
  onTestFinished(() => work.stop());
  work.request(sid);
  await work.settled();
  expect(made).toEqual(["sid"]);
  times.settleMs = 50;
  for (let publication = 0; publication < 3; publication++) work.request(sid);
  await work.settled();
  expect(made).toEqual(["sid", "sid"]);
  times.settleMs = hourMs;
  work.request(sid);
  expect(await isPending(work.settled())).toBe(true);
  expect(made).toEqual(["sid", "sid"]);
});
