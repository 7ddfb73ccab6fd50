// How owners share a limited number of slots.
import { expect, test } from "vitest";
import { FairQueue } from "../../src/base/fair-queue.ts";
import { withResolvers } from "../../src/base/with-resolvers.ts";

const never = new AbortController().signal;

/** A queue with a fake clock, and tasks that the test ends. */
function aQueue(limit: number, spare = 0) {
  let nowMs = 1000;
  const queue = new FairQueue({ limit, spare, now: () => nowMs });
  const begun: string[] = [];
  const running = new Map<string, () => void>();
  const begin = (owner: string, task: string, signal = never) =>
    queue.run(owner, signal, async () => {
      begun.push(task);
      const { promise, resolve } = withResolvers<void>();
      running.set(task, resolve);
      await promise;
    });
  const settle = () => new Promise<void>((resolve) => setImmediate(resolve));
  const end = async (task: string, afterMs = 0) => {
    nowMs += afterMs;
    running.get(task)?.();
    await settle();
  };
  return { queue, begun, begin, end, settle };
}

test("tasks of one owner run in the order of their requests, at most the limit at once", async () => {
  const { begun, begin, end, settle } = aQueue(2);
  for (let n = 0; n < 5; n++) void begin("alice", `a${n}`);
  await settle();
  expect(begun).toEqual(["a0", "a1"]);
  await end("a1");
  expect(begun).toEqual(["a0", "a1", "a2"]);
  await end("a0");
  await end("a2");
  expect(begun).toEqual(["a0", "a1", "a2", "a3", "a4"]);
});

test("a task of a new owner runs before a hundred waiting tasks of another owner", async () => {
  const { begun, begin, end, settle } = aQueue(1);
  for (let n = 0; n < 100; n++) void begin("mallory", `m${n}`);
  await settle();
  void begin("alice", "a");
  await end("m0", 10);
  expect(begun).toEqual(["m0", "a"]);
});

test("slots depend on used time: several short tasks of one owner run between long tasks of another", async () => {
  const { begun, begin, end, settle } = aQueue(1);
  for (let n = 0; n < 2; n++) void begin("mallory", `m${n}`);
  for (let n = 0; n < 6; n++) void begin("alice", `a${n}`);
  await settle();
  await end("m0", 9000);
  for (let n = 0; n < 6; n++) await end(`a${n}`, 1500 - n);
  expect(begun).toEqual(["m0", "a0", "a1", "a2", "a3", "a4", "a5", "m1"]);
});

test("the time of running tasks counts", async () => {
  const { begun, begin, end, settle } = aQueue(2);
  void begin("mallory", "m0");
  void begin("bob", "b0");
  void begin("mallory", "m1");
  void begin("alice", "a0");
  await settle();
  await end("b0", 5000);
  expect(begun).toEqual(["m0", "b0", "a0"]);
});

test("idle time gives an owner no advantage later", async () => {
  const { begun, begin, end, settle } = aQueue(1);
  void begin("alice", "a0");
  await settle();
  for (let n = 0; n < 3; n++) void begin("bob", `b${n}`);
  await end("a0", 1);
  await end("b0", 60_000);
  for (let n = 1; n < 3; n++) void begin("alice", `a${n}`);
  await end("b1", 60_000);
  await end("a1", 60_001);
  expect(begun).toEqual(["a0", "b0", "b1", "a1", "b2"]);
});

test("spare slots are only for owners without a running task", async () => {
  const { begun, begin, end, settle } = aQueue(2, 1);
  for (let n = 0; n < 4; n++) void begin("mallory", `m${n}`);
  await settle();
  expect(begun).toEqual(["m0", "m1"]);
  for (let n = 0; n < 2; n++) void begin("alice", `a${n}`);
  void begin("bob", "b0");
  await settle();
  expect(begun).toEqual(["m0", "m1", "a0"]);
  await end("a0", 100);
  expect(begun).toEqual(["m0", "m1", "a0", "b0"]);
});

test("an aborted request leaves the queue and holds no slot", async () => {
  const { begun, begin, end, settle } = aQueue(1);
  const impatient = new AbortController();
  void begin("alice", "a0");
  const given = begin("bob", "b0", impatient.signal);
  void begin("carol", "c0");
  await settle();
  impatient.abort(new Error("gone"));
  await expect(given).rejects.toThrow("gone");
  await expect(begin("bob", "b1", impatient.signal)).rejects.toThrow("gone");
  void begin("bob", "b2");
  void begin("bob", "b3");
  for (const task of ["a0", "b2", "c0"]) await end(task, 1);
  expect(begun).toEqual(["a0", "b2", "c0", "b3"]);
});

test("an error of a task is thrown, and its slot is free again", async () => {
  const queue = new FairQueue({ limit: 1 });
  await expect(queue.run("a", never, () => Promise.reject(new Error("broken")))).rejects.toThrow("broken");
  expect(await queue.run("a", never, async () => "well")).toBe("well");
});

test("a higher limit starts waiting tasks, and a lower one lets running tasks continue", async () => {
  const { queue, begun, begin, end, settle } = aQueue(1);
  for (let n = 0; n < 4; n++) void begin("alice", `a${n}`);
  await settle();
  queue.resize({ limit: 3, spare: 0 });
  await settle();
  expect(begun).toEqual(["a0", "a1", "a2"]);
  queue.resize({ limit: 1, spare: 0 });
  await end("a0");
  await end("a1");
  expect(begun).toHaveLength(3);
  await end("a2");
  expect(begun).toHaveLength(4);
});

test("twenty thousand tasks of as many owners take less time than quadratic scheduling would", async () => {
  const queue = new FairQueue({ limit: 4, spare: 2 });
  const begunMs = performance.now();
  let served = 0;
  const one = (n: number) => queue.run(`owner ${n}`, new AbortController().signal, async () => void served++);
  await Promise.all(Array.from({ length: 20_000 }, (_none, n) => one(n)));
  expect(served).toBe(20_000);
  expect(performance.now() - begunMs).toBeLessThan(12_000);
});
