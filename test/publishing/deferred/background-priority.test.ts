// Pings go first: what is made in the background rests while somebody waits for one, but not for ever.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { withResolvers } from "../../../src/base/with-resolvers.ts";
import { BackgroundPriority } from "../../../src/publishing/deferred/background-priority.ts";
import { aDeb } from "../../support/debs.ts";
import { ServedFolder, servedContents } from "../../support/served-folder.ts";
import { isPending, onceUnchanged } from "../../support/standing-still.ts";

const never = new AbortController().signal;

test("late work rests from the first piece after a ping has come to the last answer of several", async () => {
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

test("under pings without an end late work has half of the time", async () => {
  let nowMs = 0;
  const way = new BackgroundPriority(() => nowMs);
  const stop = new AbortController();
  onTestFinished(() => stop.abort());
  void way.runInForeground(new Promise(() => undefined));
  const yieldNow = way.yieldToForeground(stop.signal);
  let workedMs = 0;
  const late = (async () => {
    while (nowMs < 60_000) {
      await yieldNow();
      nowMs += 250;
      workedMs += 250;
    }
  })();
  // Only while it rests does time pass without it.
  const clock = setInterval(() => (nowMs += 250), 5);
  onTestFinished(() => clearInterval(clock));
  await late;
  expect(workedMs / nowMs).toBeGreaterThan(0.4);
  expect(workedMs / nowMs).toBeLessThan(0.6);
});

test("resting late work is abandoned with the server", async () => {
  const way = new BackgroundPriority(() => performance.now());
  const stop = new AbortController();
  void way.runInForeground(new Promise(() => undefined));
  const resting = way.yieldToForeground(stop.signal)();
  stop.abort(new Error("the server stops"));
  await expect(resting).rejects.toThrow("the server stops");
});

test("Contents wait for a ping that is under way, and not it for them", async () => {
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
  // What it is made with stands there from its begin to its end.
  const underWay = () => readdirSync(join(served.state, "contents")).length;
  await expect.poll(underWay).toBe(1);
  expect(await onceUnchanged(underWay)).toBe(1);
  released.resolve();
  await slow;
  expect(await servedContents(served, "main/Contents-amd64")).toContain("slow");
  expect(readdirSync(join(served.state, "contents"))).toEqual([]);
});
