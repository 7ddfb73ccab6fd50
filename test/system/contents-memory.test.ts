// The thread for Contents survives packages with the longest allowed file lists, whatever their number.
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MessageChannel } from "node:worker_threads";
import { gzipSync } from "node:zlib";
import { expect, onTestFinished, test } from "vitest";
import { defaultInspectLimits as limits } from "../../src/catalog/inspection/inspect-limits.ts";
import { entryOf, textOf } from "../../src/indices/contents/contents.ts";
import type { ListedPackages } from "../../src/publishing/deferred/contents/contents-tasks.ts";
import type { ContentsTasks } from "../../src/publishing/deferred/contents/contents-thread.ts";
import { createContentsThread } from "../../src/publishing/deferred/contents/contents-thread.ts";

const noSignal = new AbortController().signal;
const none: ListedPackages = { locations: [], lengths: [], lists: Buffer.of() };

function aThread(): ContentsTasks {
  const thread = createContentsThread();
  onTestFinished(() => thread.close());
  return thread;
}

function aDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "tahoe-apt-runs-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  return directory;
}

/** Packages with this number of files each. */
function packagesOf(count: number, files: number, pathBytes: number): ListedPackages {
  const paths = Array.from({ length: files }, (_none, at) => `${String(at).padStart(7, "0")}`.padEnd(pathBytes, "x"));
  const list = gzipSync(`${paths.join("\n")}\n`);
  const each = Array.from({ length: count }, (_none, at) => at);
  return {
    locations: each.map((at) => `utils/p${at}`),
    lengths: each.map(() => list.length),
    lists: Buffer.concat(each.map(() => list)),
  };
}

test.each([
  [6, limits.maxFileListEntries, 60],
  [16, 8000, 4096],
])(
  "%i packages of %i files with names of %i bytes exceed the memory for a single change, and nothing breaks",
  async (...of) => {
    const thread = aThread();
    const task = { firsts: ["a"], removed: none, added: packagesOf(...of), limits };
    expect(await thread.planEdits(task, noSignal)).toBeUndefined();
    expect(await thread.planEdits({ ...task, removed: task.added, added: none }, noSignal)).toBeUndefined();
    const few = await thread.planEdits({ ...task, added: packagesOf(2, 5000, 60) }, noSignal);
    expect(few?.edits).toHaveLength(1);
  },
);

test("runs are merged within the thread's memory, whatever their number", async () => {
  const directory = aDirectory();
  const lines = Array.from({ length: 2000 }, (_none, at) => `usr/${String(at).padStart(100, "0")}\0utils/p\n`).join("");
  const files = Array.from({ length: 1000 }, (_none, at) => join(directory, `run-${at}`));
  for (const file of files) writeFileSync(file, lines);
  const into = join(directory, "merged");
  writeFileSync(into, "");
  const { port1: receiver, port2: port } = new MessageChannel();
  const firstMessage = once(receiver, "message");
  await aThread().mergeFiles({ files, into, port }, noSignal);
  expect(await firstMessage).toMatchObject([{ first: `usr/${"0".repeat(100)}`, index: 0 }]);
});

test("a package with many short paths and a long name is sorted within the thread's memory", async () => {
  const files = limits.maxFileListEntries;
  const location = `${"s".repeat(100)}/${"n".repeat(200)}`;
  const packages = { ...packagesOf(1, files, 7), locations: [location] };
  const sorted = await aThread().sortLists({ packages, limits, into: join(aDirectory(), "run") }, noSignal);
  expect(sorted).toMatchObject({ files: [expect.any(String)], malformed: [] });
  const lineBytes = entryOf("", location).length + 7 + 1;
  const run = readFileSync(sorted.files[0]!);
  expect(run.length).toBe(files * lineBytes);
  expect(run.toString("latin1", run.length - lineBytes)).toBe(
    `${entryOf(String(files - 1).padStart(7, "0"), location)}\n`,
  );
});

test("a segment with long paths that many packages contain is cut again within the thread's memory", async () => {
  const paths = Array.from({ length: 230 }, (_none, at) => `p/${String(at).padStart(5, "0")}/`.padEnd(4096, "x"));
  const names = Array.from({ length: 250 }, (_none, at) => `p${String(at).padStart(4, "0")}`);
  const lines = paths.map((path) => `${path} ${names.join(",")}\n`).join("");
  const gone = paths.map((path) => entryOf(path, "p0003"));
  const edits = { segment: 0, removed: textOf(gone), added: textOf([entryOf("q", "new")]) };
  const task = { open: Buffer.of(), old: gzipSync(lines), edits };
  const { ended, rest } = await aThread().recutSegment(task, noSignal);
  expect(ended).toEqual([]);
  const successor = `${lines.replaceAll(",p0003,", ",")}q${" ".repeat(55)}new\n`;
  expect(Buffer.from(rest?.plain ?? []).equals(Buffer.from(successor))).toBe(true);
});
