// The one-machine grid: what it keeps, how it restarts, and that none of its processes survives us.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { parseTreePath, rootPath } from "../../src/base/names.ts";
import type { Grid } from "../../src/local/grid/grid.ts";
import { startGrid } from "../../src/local/grid/grid.ts";
import { Webapi } from "../../src/storage/tahoe/webapi.ts";
import { WebapiTree } from "../../src/storage/tahoe/webapi-tree.ts";
import { WebapiWriter } from "../../src/storage/tahoe/webapi-writer.ts";

const { signal } = new AbortController();
let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "tahoe-apt-grid-test-"));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

const start = (name: string): Promise<Grid> =>
  startGrid({
    directory: join(directory, name),
    tahoe: { executable: inject("tahoe") },
    progress: () => {},
    signal,
  });

test("a grid keeps its data and its ports after a restart, and finds other ports if its own are taken", async () => {
  const first = await start("kept");
  const writer = new WebapiWriter(new Webapi(first.webapiUrl));
  const root = await writer.createDirectory(signal);
  const readCap = await writer.readCapOf(root, signal);
  // Longer than the content of a literal cap, so that the storage server must store it.
  const content = await writer.put(root, parseTreePath("a/b"), Buffer.alloc(1000, 7), signal);
  await first.stop();

  const sizeAt = async (grid: Grid): Promise<number> => {
    let bytes = 0;
    const tree = new WebapiTree(new Webapi(grid.webapiUrl), readCap);
    for await (const chunk of tree.open({ path: parseTreePath("a/b"), content }, undefined, signal))
      bytes += chunk.length;
    return bytes;
  };
  const second = await start("kept");
  expect(second.webapiUrl).toBe(first.webapiUrl);
  expect(await sizeAt(second)).toBe(1000);
  await second.stop();

  const squatter = createServer().listen(Number(new URL(first.webapiUrl).port), "127.0.0.1");
  await once(squatter, "listening");
  const third = await start("kept");
  expect(third.webapiUrl).not.toBe(first.webapiUrl);
  expect(await sizeAt(third)).toBe(1000);
  await third.stop();
  squatter.close();
});

test("other users cannot read the files of the grid", async () => {
  const grid = await start("private");
  await grid.stop();
  expect((await stat(join(directory, "private"))).mode & 0o077).toBe(0);
});

test("a node whose parent is killed ends too, and the next start waits for that", async () => {
  const script = join(directory, "parent.mjs");
  const module = pathToFileURL(join(import.meta.dirname, "../../dist/local/grid/grid.js")).href;
  const options = { directory: join(directory, "orphan"), tahoe: { executable: inject("tahoe") } };
  await writeFile(
    script,
    `import { startGrid } from ${JSON.stringify(module)};
    const grid = await startGrid({ ...${JSON.stringify(options)}, progress() {}, signal: new AbortController().signal });
    console.log(grid.pid);
    setInterval(() => {}, 1000);`,
  );
  const parent = spawn(process.execPath, [script], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = (await once(parent.stdout, "data")) as [Buffer];
  const pid = Number(line.toString());
  expect(await isRunning(pid)).toBe(true);
  parent.kill("SIGKILL");
  const again = await start("orphan");
  expect(await isRunning(pid)).toBe(false);
  await again.stop();
});

test("a second grid in the same directory is rejected and the first one continues", async () => {
  const first = await start("twice");
  await expect(start("twice")).rejects.toMatchObject({ code: "grid/failed" });
  expect(await isRunning(first.pid)).toBe(true);
  await first.stop();
  expect(await isRunning(first.pid)).toBe(false);
});

test("an aborted start leaves no node behind, and the next start works", async () => {
  const off = new AbortController();
  const starting = startGrid({
    directory: join(directory, "off"),
    tahoe: { executable: inject("tahoe") },
    progress: (step) => {
      if (step === "Starting the Tahoe node") setTimeout(() => off.abort(new Error("called off")), 200);
    },
    signal: off.signal,
  });
  await expect(starting).rejects.toThrow("called off");
  const text = await readFile(join(directory, "off/node/running.process"), "utf8").catch(() => "0");
  expect(await isRunning(Number.parseInt(text, 10))).toBe(false);
  await (await start("off")).stop();
});

test("the tahoe command reaches a directory by its alias, and the node's logs contain no cap", async () => {
  const grid = await start("alias");
  const writer = new WebapiWriter(new Webapi(grid.webapiUrl));
  const root = await writer.createDirectory(signal);
  await grid.addAlias("apt", root);
  await grid.addAlias("other", root);
  await grid.addAlias("apt", root);
  const file = join(directory, "upload");
  await writeFile(file, "uploaded by the command");
  const put = spawn(inject("tahoe"), ["-d", grid.nodeDirectory, "put", file, "apt:some/file"], { stdio: "ignore" });
  expect(await once(put, "close")).toEqual([0, null]);
  const tree = new WebapiTree(new Webapi(grid.webapiUrl), await writer.readCapOf(root, signal));
  expect(await tree.look(parseTreePath("some/file"), signal)).toMatchObject({ kind: "file", sizeBytes: 23 });
  expect(await tree.look(rootPath, signal)).toMatchObject({ kind: "directory" });
  await grid.stop();
  const logs = join(grid.nodeDirectory, "logs");
  for (const name of await readdir(logs, { recursive: true })) {
    const text = await readFile(join(logs, name), "utf8").catch(() => "");
    expect(text).not.toContain(root.reveal());
  }
});

async function isRunning(pid: number): Promise<boolean> {
  await sleep(0);
  if (!(pid > 0)) return false;
  const status = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  return status !== "" && !/^\d+ \(.*\) Z/.test(status);
}
