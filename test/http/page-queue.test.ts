// How many pages are made at the same time.
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { PageQueue } from "../../src/http/page-queue.ts";

const never = new AbortController().signal;

/** Starts tasks that end when they are told. */
function started(queue: PageQueue, count: number, signal = never) {
  const running = new Set<() => void>();
  const begun: number[] = [];
  const tasks = Array.from({ length: count }, (_, number) =>
    queue.run(
      () => {
        begun.push(number);
        return new Promise<void>((resolve) => running.add(resolve));
      },
      () => signal,
    ),
  );
  const end = (): void => {
    const [first] = running;
    if (first === undefined) throw new Error("nothing runs");
    running.delete(first);
    first();
  };
  return { tasks, begun, end };
}

test("sixteen run at the same time, and the others begin in their order when one ends", async () => {
  const queue = new PageQueue();
  const { tasks, begun, end } = started(queue, 20);
  await sleep(0);
  expect(begun).toEqual(Array.from({ length: 16 }, (_, number) => number));
  end();
  await expect.poll(() => begun.at(-1)).toBe(16);
  for (let ended = 1; ended < 20; ended++) {
    await expect.poll(() => begun.length).toBeGreaterThan(ended);
    end();
  }
  await Promise.all(tasks);
});

test("a task that fails or whose client has gone leaves its place", async () => {
  const queue = new PageQueue();
  const { end } = started(queue, 16);
  const gone = new AbortController();
  const waiting = queue.run(
    async () => undefined,
    () => gone.signal,
  );
  gone.abort(new Error("gone"));
  await expect(waiting).rejects.toThrow("gone");
  const failing = queue.run(
    async () => Promise.reject(new Error("failed")),
    () => never,
  );
  end();
  await expect(failing).rejects.toThrow("failed");
  await expect
    .poll(() =>
      queue
        .run(
          async () => undefined,
          () => never,
        )
        .then(() => "ran"),
    )
    .toBe("ran");
});

test("after a page that was made while the event loop was busy, its place stays empty for as long", async () => {
  const queue = new PageQueue();
  started(queue, 15);
  const busyMs = 200;
  await queue.run(
    async () => {
      const end = performance.now() + busyMs;
      while (performance.now() < end);
    },
    () => never,
  );
  const endedMs = performance.now();
  await queue.run(
    async () => undefined,
    () => never,
  );
  expect(performance.now() - endedMs).toBeGreaterThan(busyMs / 2);
});

test("too many are refused", async () => {
  const queue = new PageQueue();
  const { tasks } = started(queue, 16 + 256);
  await expect(
    queue.run(
      async () => undefined,
      () => never,
    ),
  ).rejects.toThrow("too many pages");
  expect(tasks).toHaveLength(272);
});
