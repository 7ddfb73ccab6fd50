// The refresh queue merges refresh requests.
import { expect, test } from "vitest";
import type { TreePath } from "../../../src/base/names.ts";
import { RefreshQueue } from "../../../src/publishing/live/refresh-queue.ts";
import { treePath } from "../../support/served-folder.ts";

/** A refresh that the test finishes. */
function stepped() {
  const runs: (readonly TreePath[])[] = [];
  const finish: ((outcome?: Error) => void)[] = [];
  const queue = new RefreshQueue<number>((paths) => {
    runs.push(paths);
    const number = runs.length;
    return new Promise((resolve, reject) => finish.push((error) => (error ? reject(error) : resolve(number))));
  });
  const settle = () => new Promise<void>((resolve) => setImmediate(resolve));
  return { queue, runs, finish, settle };
}

test("many requests cause one more run, and each caller gets the result of a run that began after its request", async () => {
  const { queue, runs, finish, settle } = stepped();
  const first = queue.request(treePath("dists/a"));
  await settle();
  const later = Array.from({ length: 100 }, (_, n) => queue.request(treePath(`dists/b/${n % 10}`)));
  await settle();
  expect(runs).toEqual([["dists/a"]]);
  finish[0]?.();
  expect(await first).toBe(1);
  await settle();
  finish[1]?.();
  expect(new Set(await Promise.all(later))).toEqual(new Set([2]));
  expect(runs[1]).toHaveLength(10);
});

test("a path within another one is refreshed once", async () => {
  const { queue, runs, finish, settle } = stepped();
  void queue.request(treePath("x"));
  await settle();
  const waiting = ["dists/a/b", "dists/a", "dists/ab", "dists/a"].map((path) => queue.request(treePath(path)));
  finish[0]?.();
  await settle();
  expect(runs[1]).toEqual(["dists/a", "dists/ab"]);
  finish[1]?.();
  await Promise.all(waiting);
});

test("a failed run fails only its own callers", async () => {
  const { queue, finish, settle } = stepped();
  const first = queue.request(treePath("a"));
  await settle();
  const second = queue.request(treePath("b"));
  finish[0]?.(new Error("the grid is down"));
  await expect(first).rejects.toThrow("the grid is down");
  await settle();
  finish[1]?.();
  expect(await second).toBe(2);
  await queue.idle();
});

test("thousands of waiting paths are compared in linear time, and at most a thousand are kept", async () => {
  const { queue, runs, finish, settle } = stepped();
  void queue.request(treePath("dists"));
  await settle();
  const paths = (count: number) =>
    Array.from({ length: count }, (_none, n) => treePath(`dists/sid/main/binary-amd64/builder-${n % 10}/p${n}.deb`));
  const waiting = paths(1000).map((path) => queue.request(path));
  const begunMs = performance.now();
  finish[0]?.();
  await settle();
  expect(performance.now() - begunMs).toBeLessThan(500);
  expect(runs[1]).toHaveLength(1000);
  const more = paths(16_000).map((path) => queue.request(path));
  finish[1]?.();
  await settle();
  expect(runs[2]).toEqual([""]);
  finish[2]?.();
  expect(new Set(await Promise.all(waiting))).toEqual(new Set([2]));
  expect(new Set(await Promise.all(more))).toEqual(new Set([3]));
});
