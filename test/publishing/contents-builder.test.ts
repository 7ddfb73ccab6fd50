// Segments of Contents stand in their order, whichever of the threads that compress them is done first.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { gunzipSync, gzipSync } from "node:zlib";
import { expect, onTestFinished, test } from "vitest";
import { parseRepositoryName } from "../../src/base/names.ts";
import { defaultInspectLimits as limits } from "../../src/catalog/inspect-limits.ts";
import { compressPaths } from "../../src/indices/compress-worker.ts";
import { ContentsBuilder } from "../../src/publishing/contents-builder.ts";
import { createContentsThread } from "../../src/publishing/contents-thread.ts";
import { SegmentStore } from "../../src/publishing/segment-store.ts";
import { openStateDatabase } from "../../src/publishing/state-database.ts";

test("an index from nothing has its segments in order, though one of two threads is slow", async () => {
  const directory = mkdtempSync(join(tmpdir(), "tahoe-apt-builder-"));
  const root = openStateDatabase(join(directory, "database"));
  const tasks = createContentsThread();
  onTestFinished(async () => {
    await Promise.all([tasks.close(), root.close()]);
    rmSync(directory, { recursive: true });
  });
  let slowly = 0;
  const segments = new SegmentStore(root, parseRepositoryName("debian"));
  const compressor = {
    async compress(plain: Uint8Array) {
      slowly += 1;
      await sleep(300);
      return await compressPaths(plain);
    },
    wake: () => undefined,
    close: async () => undefined,
  };
  const cut = { leastBytes: 500, oneIn: 2, mostBytes: 1000 };
  const builder = new ContentsBuilder(
    { tasks, compressor, segments, limits, directory, cut },
    new AbortController().signal,
  );
  const paths = Array.from({ length: 200 }, (_none, at) => `etc/${String(at).padStart(3, "0")}`);
  const list = gzipSync(`${paths.join("\n")}\n`);
  const { files } = await builder.sort({ locations: ["utils/p"], lengths: [list.length], lists: list });
  const made = await builder.fromRuns(files);
  expect(slowly).toBeGreaterThan(0);
  expect(slowly).toBeLessThan(made.length);
  const lines = made.map(({ id }) => gunzipSync(segments.read(id, "gz")).toString()).join("");
  expect(lines).toBe(paths.map((path) => `${path.padEnd(55)} utils/p\n`).join(""));
});
