// A lock between processes: never held by two, and free again when its holder ends in any way.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import { withLock } from "../../src/base/lock-directory.ts";
import { projectRoot } from "../support/project-files.ts";
import { temporaryDirectory } from "../support/temporary-directory.ts";

const aDirectory = (): string => temporaryDirectory("lock-directory");
const { signal } = new AbortController();

/** Increments the number in a file `times` times; without a lock, concurrent calls lose increments. */
const countIn = (directory: string, times: number): string => `
  import { readFile, writeFile } from "node:fs/promises";
  import { withLock } from ${JSON.stringify(pathToFileURL(join(projectRoot, "dist/base/lock-directory.js")).href)};
  const file = ${JSON.stringify(join(directory, "count"))};
  const { signal } = new AbortController();
  for (let n = 0; n < ${times}; n++) {
    await withLock(${JSON.stringify(directory)}, "count", { signal }, async () => {
      await writeFile(file, String(Number(await readFile(file, "utf8")) + 1));
    });
  }`;

const nodeOf = (script: string) => spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: "inherit" });

test("processes that change one file under the lock lose no change", async () => {
  const directory = aDirectory();
  await writeFile(join(directory, "count"), "0");
  const processes = Array.from({ length: 4 }, () => nodeOf(countIn(directory, 10)));
  await Promise.all(processes.map((child) => once(child, "close")));
  expect(processes.map(({ exitCode }) => exitCode)).toEqual([0, 0, 0, 0]);
  expect(await readFile(join(directory, "count"), "utf8")).toBe("40");
});

test("the lock works between tasks of one process too, and a task that fails releases it", async () => {
  const directory = aDirectory();
  let underWay = 0;
  const tasks = Array.from({ length: 10 }, async (_, n) =>
    withLock(directory, "x", { signal }, async () => {
      expect(++underWay).toBe(1);
      await new Promise((resolve) => setTimeout(resolve, 5));
      underWay -= 1;
      if (n % 2 === 0) throw new Error("it failed");
    }),
  );
  const results = await Promise.allSettled(tasks);
  expect(results.map(({ status }) => status).toSorted()).toEqual([
    ...Array(5).fill("fulfilled"),
    ...Array(5).fill("rejected"),
  ]);
});

test("the lock of a killed process is free, and only one of several waiting processes gets it", async () => {
  const directory = aDirectory();
  const holder = nodeOf(`
    import { withLock } from ${JSON.stringify(pathToFileURL(join(projectRoot, "dist/base/lock-directory.js")).href)};
    const { signal } = new AbortController();
    await withLock(${JSON.stringify(directory)}, "x", { signal }, () => new Promise((resolve) => setTimeout(resolve, 60000)));`);
  await expect.poll(async () => await readdir(directory), { timeout: 20_000 }).toContain(".x.lock.1");
  const told: number[] = [];
  let underWay = 0;
  const waiting = Array.from({ length: 10 }, async () =>
    withLock(directory, "x", { signal, waiting: (pid) => told.push(pid) }, async () => {
      expect(++underWay).toBe(1);
      await new Promise((resolve) => setTimeout(resolve, 2));
      underWay -= 1;
    }),
  );
  await expect.poll(() => told.length).toBe(10);
  expect(told).toEqual(Array(10).fill(holder.pid));
  holder.kill("SIGKILL");
  await Promise.all(waiting);
  expect(await readdir(directory)).toHaveLength(1);
});

test("a process with the pid of a dead lock holder does not count as the holder", async () => {
  const directory = aDirectory();
  await writeFile(join(directory, ".x.lock.7"), `${process.pid} 1\n`);
  expect(await withLock(directory, "x", { signal }, async () => await readdir(directory))).toEqual([".x.lock.8"]);
});

test("an abort ends the wait for a lock", async () => {
  const directory = aDirectory();
  const stop = new AbortController();
  await withLock(directory, "x", { signal }, async () => {
    const waiting = withLock(directory, "x", { signal: stop.signal }, async () => expect.unreachable());
    stop.abort(new Error("called off"));
    await expect(waiting).rejects.toThrow("called off");
  });
});
