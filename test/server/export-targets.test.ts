// Exports on several servers: only the one that publishes exports, and it ends when another one has taken over.
import { expect, test, vi } from "vitest";
import { silentLog } from "../../src/base/log.ts";
import { parseRepositoryName, parseTreePath } from "../../src/base/names.ts";
import { withResolvers } from "../../src/base/with-resolvers.ts";
import type { WritableTree } from "../../src/export/publish-to-tree.ts";
import { ExportAfterPublish } from "../../src/server/export-after-publish.ts";
import { writtenWhile } from "../../src/server/export-targets.ts";

const { signal } = new AbortController();
const path = parseTreePath("dists/sid");

test("an export begins only on the server that publishes, and its failure is nobody's when another one has taken over", async () => {
  let isOurs = false;
  let runs = 0;
  const [failed, log] = [vi.fn(), { ...silentLog, error: vi.fn() }];
  const begun = withResolvers<void>();
  const mayEnd = withResolvers<void>();
  const exporting = new ExportAfterPublish({
    repository: parseRepositoryName("debian"),
    done: "exported",
    isOurs: () => isOurs,
    work: async () => {
      runs += 1;
      begun.resolve();
      await mayEnd.promise;
      throw new Error("another one has taken over");
    },
    observer: { done: () => undefined, failed },
    log,
    now: Date.now,
  });
  exporting.request();
  expect(runs).toBe(0);
  isOurs = true;
  exporting.request();
  await begun.promise;
  isOurs = false;
  mayEnd.resolve();
  await exporting.stop();
  expect([runs, failed.mock.calls, log.error.mock.calls]).toEqual([1, [], []]);
});

test("a tree is not written to any more when another replica publishes", async () => {
  let isPublisher = true;
  const calls: string[] = [];
  const tree: WritableTree = {
    list: async () => new Map(),
    upload: async () => {
      throw new Error("unexpected");
    },
    link: async () => void calls.push("link"),
    unlink: async () => void calls.push("unlink"),
  };
  const written = writtenWhile(() => isPublisher, tree);
  await written.link(path, new Map(), signal);
  await written.unlink(path, signal);
  isPublisher = false;
  await expect(written.link(path, new Map(), signal)).rejects.toMatchObject({ code: "cluster/lease-lost" });
  await expect(written.unlink(path, signal)).rejects.toMatchObject({ code: "cluster/lease-lost" });
  expect(await written.list(path, signal)).toEqual(new Map());
  expect(calls).toEqual(["link", "unlink"]);
});
