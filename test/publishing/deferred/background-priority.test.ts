// Background priority: background work pauses while a ping waits, but not forever.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { withResolvers } from "../../../src/base/with-resolvers.ts";
import { BackgroundPriority } from "../../../src/publishing/deferred/background-priority.ts";
import { aDeb } from "../../support/debs.ts";
import { ServedFolder, servedContents } from "../../support/served-folder.ts";
import { isPending, onceUnchanged } from "../../support/unchanged.ts";

const never = new AbortController().signal;

test("background work pauses from the first ping until the last of several has its response", async () => {
  const way = new BackgroundPriority(() => performance.now());
  const yieldNow = way.yieldToForeground(never);
  await yieldNow();
  const [one, other] = [withResolvers<void>(), withResolvers<void>()];
  const answered = Promise.allSettled([way.runInForeground(one.promise), way.runInForeground(other.promise)]);
  const resting = yieldNow();
  one.resolve();
  expect(await isPending(resting)).toBe(true);
  other.reject(new Error("a ping that fails is over, too"));
  await resting;
  await answered;
});

test("under a constant stream of pings, background work gets half of the time", async () => {
  let nowMs = 0;
  const way = new BackgroundPriority(() => nowMs);
  const stop = new AbortController();
  onTestFinished(() => stop.abort());
  void way.runInForeground(new Promise(() => undefined));
  const yieldNow = way.yieldToForeground(stop.signal);
  let workedMs = 0;
  const background = (async () => {
    while (nowMs < 60_000) {
      await yieldNow();
      nowMs += 250;
      workedMs += 250;
    }
  })();
  // Time passes only while the work pauses.
  const clock = setInterval(() => (nowMs += 250), 5);
  onTestFinished(() => clearInterval(clock));
  await background;
  expect(workedMs / nowMs).toBeGreaterThan(0.4);
  expect(workedMs / nowMs).toBeLessThan(0.6);
});

test("paused background work ends with the server", async () => {
  const way = new BackgroundPriority(() => performance.now());
  const stop = new AbortController();
  void way.runInForeground(new Promise(() => undefined));
  const resting = way.yieldToForeground(stop.signal)();
  stop.abort(new Error("the server stops"));
  await expect(resting).rejects.toThrow("the server stops");
});

test("Contents wait for a ping in progress, and the ping does not wait for them", async () => {
  const reached = withResolvers<void>();
  const released = withResolvers<void>();
  const served = new ServedFolder({
    contents: true,
    wrap: (tree) => ({
      look: async (path, signal) => {
        if (path.endsWith("slow.deb")) {
          reached.resolve();
          await released.promise;
        }
        return await tree.look(path, signal);
      },
      open: (file, range, signal) => tree.open(file, range, signal),
    }),
  });
  onTestFinished(() => released.resolve());
  const directory = "dists/sid/main/binary-amd64";
  served.put(`${directory}/first.deb`, await aDeb({ package: "first" }));
  served.put(`${directory}/slow.deb`, await aDeb({ package: "slow" }));
  await served.ping(`${directory}/first.deb`);
  const slow = served.ping(`${directory}/slow.deb`);
  await reached.promise;
  // The working directory exists from the begin to the end of the run.
  const underWay = () => readdirSync(join(served.state, "contents")).length;
  await expect.poll(underWay).toBe(1);
  expect(await onceUnchanged(underWay)).toBe(1);
  released.resolve();
  await slow;
  expect(await servedContents(served, "main/Contents-amd64")).toContain("slow");
  expect(readdirSync(join(served.state, "contents"))).toEqual([]);
});
