// Threads that nobody waits for let the others go first.
import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { projectRoot } from "../support/project-files.ts";

const built = (path: string): string => JSON.stringify(pathToFileURL(join(projectRoot, "dist", path)).href);

// A process of its own, because those of other tests have threads too. proc(5): the 19th field is the nice value.
const script = (database: string): string => `
  const { readdirSync, readFileSync } = require("node:fs");
  void (async () => {
  const { createContentsThread } = await import(${built("publishing/deferred/contents/contents-thread.js")});
  const { IndexThread } = await import(${built("web/search/index-thread.js")});
  const lowered = () => readdirSync("/proc/self/task")
    .map((thread) => readFileSync("/proc/self/task/" + thread + "/stat", "utf8").replace(/.*\\)/, "").split(" ")[17])
    .filter((niceness) => niceness > 0).length;
  const { signal } = new AbortController();
  const counts = [lowered()];
  const index = new IndexThread();
  await index.ask({ kind: "suites", file: ${JSON.stringify(database)} }, signal);
  counts.push(lowered());
  const contents = createContentsThread();
  await contents.compressPaths(Buffer.from("usr/bin/hello admin/hello\\n"), signal);
  counts.push(lowered());
  console.log(counts.join());
  await index.close();
  await contents.close();
  })();`;

test("the threads of Contents and of the index of packages have a low priority, and no other thread has", async () => {
  const directory = await mkdtemp(join(tmpdir(), "background-thread-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  const args = ["--eval", script(join(directory, "index.sqlite"))];
  expect(execFileSync(process.execPath, args, { encoding: "utf8" }).trim()).toBe("0,1,2");
});
