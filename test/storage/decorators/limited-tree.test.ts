// Limits of concurrent operations, their order, and their timeouts.

import { setTimeout as wait } from "node:timers/promises";
import fc from "fast-check";
import { expect, test } from "vitest";
import { parseTreePath, rootPath } from "../../../src/base/names.ts";
import { Semaphore } from "../../../src/base/semaphore.ts";
import { LimitedTree } from "../../../src/storage/decorators/limited-tree.ts";
import type { Tree } from "../../../src/storage/tree.ts";
import { onceUnchanged } from "../../support/unchanged.ts";

const { signal } = new AbortController();
const limits = { maxLooks: 2, maxOpens: 2, lookTimeoutMs: 60_000 };

/** A tree whose looks and streams last until the test ends them, and that counts them. */
function held(): {
  tree: Tree;
  running: () => number;
  maxRunning: () => number;
  started: string[];
  release: () => void;
} {
  let running = 0;
  let maxRunning = 0;
  const started: string[] = [];
  let release = (): void => {};
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  const enter = async (path: string, abort: AbortSignal): Promise<void> => {
    abort.throwIfAborted();
    started.push(path);
    maxRunning = Math.max(maxRunning, ++running);
    try {
      await Promise.race([
        gate,
        new Promise((_, reject) => abort.addEventListener("abort", () => reject(abort.reason as Error))),
      ]);
    } finally {
      running--;
    }
  };
  const tree: Tree = {
    async look(path, abort) {
      await enter(path, abort);
      return undefined;
    },
    async *open({ path }, _range, abort) {
      await enter(path, abort);
      yield Buffer.from(path);
    },
  };
  return { tree, running: () => running, maxRunning: () => maxRunning, started, release };
}

test("the number of concurrent looks and opens is limited, and they run in the order of the calls", async () => {
  const { tree, maxRunning, started, release } = held();
  const limited = new LimitedTree(tree, limits);
  const names = ["a", "b", "c", "d", "e"];
  const looks = names.map((name) => limited.look(parseTreePath(name), signal));
  await onceUnchanged(() => started.length);
  expect(started).toEqual(["a", "b"]);
  release();
  await Promise.all(looks);
  expect(started).toEqual(names);
  expect(maxRunning()).toBe(2);
});

test("one builder's looks never use more than half of the slots, and the builder with fewest comes next", async () => {
  const { tree, started, release } = held();
  const limited = new LimitedTree(tree, { ...limits, maxLooks: 4 }, (path) => path.slice(0, 1));
  const looks = ["a1", "a2", "a3", "a4", "b1"].map((name) => limited.look(parseTreePath(name), signal));
  await onceUnchanged(() => started.length);
  expect(started).toEqual(["a1", "a2", "b1"]);
  looks.push(...["c1", "c2", "d1"].map((name) => limited.look(parseTreePath(name), signal)));
  await onceUnchanged(() => started.length);
  expect(started).toEqual(["a1", "a2", "b1", "c1"]);
  release();
  await Promise.all(looks);
  expect(started[4]).toBe("d1");
  expect(started.toSorted()).toEqual(["a1", "a2", "a3", "a4", "b1", "c1", "c2", "d1"]);
});

test("a stream uses its slot until it ends or is closed", async () => {
  const { tree, started, release } = held();
  release();
  const limited = new LimitedTree(tree, { ...limits, maxOpens: 1 });
  const stream = (name: string): AsyncIterator<Uint8Array> =>
    limited.open({ path: parseTreePath(name), content: undefined }, undefined, signal)[Symbol.asyncIterator]();
  const first = stream("first");
  await first.next();
  const second = stream("second").next();
  await onceUnchanged(() => started.length);
  expect(started).toEqual(["first"]);
  await first.return?.();
  await second;
  expect(started).toEqual(["first", "second"]);
});

test("an aborted call leaves the queue, and the others continue", async () => {
  const { tree, started, release } = held();
  const limited = new LimitedTree(tree, { ...limits, maxLooks: 1 });
  const first = limited.look(parseTreePath("first"), signal);
  const controller = new AbortController();
  const second = limited.look(parseTreePath("second"), controller.signal);
  const third = limited.look(parseTreePath("third"), signal);
  controller.abort(new Error("gave up"));
  await expect(second).rejects.toThrow("gave up");
  release();
  await Promise.all([first, third]);
  expect(started).toEqual(["first", "third"]);
});

test("a look that takes too long is unavailable for now and frees its slot; the wait in the queue does not count", async () => {
  const { tree, running } = held();
  const limited = new LimitedTree(tree, { ...limits, maxLooks: 1, lookTimeoutMs: 60 });
  const looks = ["a", "b", "c"].map((name) => limited.look(parseTreePath(name), signal));
  for (const look of looks) await expect(look).rejects.toMatchObject({ code: "storage/unavailable", transient: true });
  expect(running()).toBe(0);
});

test("an abort at the moment when a slot is assigned takes effect", async () => {
  const { tree, running } = held();
  const controller = new AbortController();
  const look = new LimitedTree(tree, limits).look(rootPath, controller.signal);
  controller.abort(new Error("gone"));
  await expect(look).rejects.toThrow("gone");
  expect(running()).toBe(0);
});

test("slots are never lost or added, whatever the order of acquiring, releasing and aborting", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 4 }),
      fc.array(fc.constantFrom("take", "give", "abort"), { maxLength: 60 }),
      async (count, steps) => {
        const slots = new Semaphore(count);
        const waiting: AbortController[] = [];
        const releases: Array<() => void> = [];
        for (const step of steps) {
          if (step === "take") {
            const controller = new AbortController();
            waiting.push(controller);
            slots.take(controller.signal).then(
              (release) => {
                waiting.splice(waiting.indexOf(controller), 1);
                releases.push(release);
              },
              () => waiting.splice(waiting.indexOf(controller), 1),
            );
          } else if (step === "give") releases.shift()?.();
          else waiting.at(-1)?.abort();
          await wait(0);
          expect(releases.length).toBeLessThanOrEqual(count);
          if (waiting.length > 0) expect(releases.length).toBe(count);
        }
        for (const release of releases.splice(0)) release();
      },
    ),
    { numRuns: 50 },
  );
});
