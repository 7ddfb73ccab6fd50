// Segments of Contents are compressed as soon as possible, and stay in order whichever thread is first.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { expect, onTestFinished, test } from "vitest";
import { parseRepositoryName } from "../../../../src/base/names.ts";
import { withResolvers } from "../../../../src/base/with-resolvers.ts";
import { yieldToEventLoop } from "../../../../src/base/yield-to-event-loop.ts";
import { defaultInspectLimits as limits } from "../../../../src/catalog/inspection/inspect-limits.ts";
import { compressPaths } from "../../../../src/indices/compression/compress-worker.ts";
import { ContentsSegments } from "../../../../src/publishing/deferred/contents/contents-segments.ts";
import type { ContentsTasks } from "../../../../src/publishing/deferred/contents/contents-thread.ts";
import { createContentsThread } from "../../../../src/publishing/deferred/contents/contents-thread.ts";
import { SegmentStore } from "../../../../src/publishing/store/segment-store.ts";
import { openStateDatabase } from "../../../../src/publishing/store/state-database.ts";

interface Opened {
  readonly directory: string;
  readonly tasks: ContentsTasks;
  readonly segments: SegmentStore;
}

function opened(): Opened {
  const directory = mkdtempSync(join(tmpdir(), "tahoe-apt-builder-"));
  const root = openStateDatabase(join(directory, "database"));
  const tasks = createContentsThread();
  onTestFinished(async () => {
    await Promise.all([tasks.close(), root.close()]);
    rmSync(directory, { recursive: true });
  });
  return { directory, tasks, segments: new SegmentStore(root, parseRepositoryName("debian")) };
}

const cut = { leastBytes: 500, oneIn: 2, mostBytes: 1000 };
const signal = new AbortController().signal;
const when = { yieldNow: yieldToEventLoop(signal), signal };
const paths = Array.from({ length: 200 }, (_none, at) => `etc/${String(at).padStart(3, "0")}`);

async function sortedIn(builder: ContentsSegments): Promise<readonly string[]> {
  const list = gzipSync(`${paths.join("\n")}\n`);
  return (await builder.sort({ locations: ["utils/p"], lengths: [list.length], lists: list })).files;
}

/** Compresses in this thread. @param before awaited before each compression */
const compressorAfter = (before: () => Promise<void>) => ({
  async compress(plain: Uint8Array) {
    await before();
    return await compressPaths(plain);
  },
  wake: () => undefined,
  close: async () => undefined,
});

test("an index that is built from nothing has its segments in order, even if one of two threads is slow", async () => {
  const parts = opened();
  const byTheOther = withResolvers<void>();
  const tasks: ContentsTasks = {
    ...parts.tasks,
    async compressPaths(...asked) {
      byTheOther.resolve();
      return await parts.tasks.compressPaths(...asked);
    },
  };
  let slowly = 0;
  const compressor = compressorAfter(async () => {
    slowly += 1;
    await byTheOther.promise;
  });
  const builder = new ContentsSegments({ ...parts, tasks, compressor, limits, cut }, when);
  const made = await builder.fromRuns(await sortedIn(builder));
  expect(slowly).toBeGreaterThan(0);
  expect(slowly).toBeLessThan(made.length);
  const lines = made.map(({ id }) => gunzipSync(parts.segments.read(id, "gz")).toString()).join("");
  expect(lines).toBe(paths.map((path) => `${path.padEnd(55)} utils/p\n`).join(""));
  const plain = made.map(({ id }) => Buffer.from(builder.plainOf(id) ?? []).toString()).join("");
  expect(plain).toBe(lines);
});

test("the first segments are compressed while the others are merged", async () => {
  const parts = opened();
  const begun = withResolvers<void>();
  const tasks: ContentsTasks = {
    ...parts.tasks,
    async mergeFiles(task, ...rest) {
      await parts.tasks.mergeFiles(task, ...rest);
      await begun.promise;
    },
  };
  const compressor = compressorAfter(async () => begun.resolve());
  const builder = new ContentsSegments({ ...parts, tasks, compressor, limits, cut }, when);
  expect((await builder.fromRuns(await sortedIn(builder))).length).toBeGreaterThan(2);
});

test.each(["merged", "compressed by the merging thread", "compressed elsewhere"])(
  "if segments cannot be %s, the build of the index fails with that error",
  async (what) => {
    const parts = opened();
    const failed = withResolvers<void>();
    const failing = async (): Promise<never> => {
      failed.resolve();
      throw new Error("expected failure");
    };
    const tasks: ContentsTasks = {
      ...parts.tasks,
      ...(what === "merged" && { mergeFiles: failing }),
      ...(what.startsWith("compressed by") && { compressPaths: failing }),
    };
    const compressor = compressorAfter(what === "compressed elsewhere" ? failing : () => failed.promise);
    const builder = new ContentsSegments({ ...parts, tasks, compressor, limits, cut }, when);
    const files = await sortedIn(builder);
    await expect(builder.fromRuns(files)).rejects.toThrow("expected failure");
  },
);
