// The log has one line when a tree goes away and one when it is back, however often it is asked for meanwhile.
import { expect, test } from "vitest";
import type { TreePath } from "../../../src/base/names.ts";
import { parseRepositoryName, parseTreePath, rootPath } from "../../../src/base/names.ts";
import { flatStateName } from "../../../src/publishing/live/flat-names.ts";
import { TreeOutage } from "../../../src/publishing/live/tree-outage.ts";
import { StorageUnavailable } from "../../../src/storage/tree.ts";
import { aDeb } from "../../support/debs.ts";
import { ServedFolder } from "../../support/served-folder.ts";

const place = "dists/sid/main/binary-amd64";

/** A repository whose tree fails where and while the test says so. */
async function aRepository() {
  const lines: { readonly level: string; readonly message: string; readonly context: object }[] = [];
  const record = (level: string) => (context: object, message: string) => void lines.push({ level, message, context });
  const state = { fails: (_path: TreePath): boolean => false, nowMs: Date.now() };
  const served = new ServedFolder({
    log: { info: record("info"), warn: record("warn"), error: record("error") },
    now: () => state.nowMs,
    wrap: (tree) => ({
      look: async (path, signal) => {
        if (state.fails(path)) throw new StorageUnavailable(path, "no gateway answers", { transient: true });
        return await tree.look(path, signal);
      },
      open: (file, range, signal) => tree.open(file, range, signal),
    }),
  });
  for (const builder of ["alice", "bob"])
    served.put(`${place}/${builder}/${builder}.deb`, await aDeb({ package: builder, architecture: "amd64" }));
  await served.ping();
  lines.length = 0;
  return { served, state, lines, messages: () => lines.map(({ level, message }) => `${level}: ${message}`) };
}

const away = "error: the tree is away: what was published is still served";

test("one line says that the tree is away, whoever asks for what, and one that it is back, with the time between", async () => {
  const { served, state, lines, messages } = await aRepository();
  state.fails = () => true;
  // The first to notice it is a builder.
  for (const path of [`${place}/alice`, `${place}/bob`, "", `${place}/alice`, "dists/sid", ""])
    await expect(served.ping(path)).rejects.toThrow(StorageUnavailable);
  expect(messages()).toEqual([away]);
  expect(lines[0]?.context).toEqual({
    repository: "debian",
    code: "storage/unavailable",
    reason: expect.stringContaining("no gateway answers"),
  });
  state.nowMs += 90_000;
  state.fails = () => false;
  await served.ping();
  await served.ping();
  expect(messages()).toEqual([away, "info: the tree is back"]);
  expect(lines[1]?.context).toEqual({ repository: "debian", awaySeconds: 90 });
  state.fails = () => true;
  await expect(served.ping()).rejects.toThrow(StorageUnavailable);
  expect(messages().slice(2)).toEqual([away]);
});

test("an outage goes on when other settings replace those of the repository, also without a flat one that was affected", () => {
  const messages: string[] = [];
  const record = (_context: object, message: string) => void messages.push(message);
  const name = parseRepositoryName("debian");
  const outage = new TreeOutage(name, { info: record, warn: record, error: record }, Date.now);
  const failure = new StorageUnavailable(rootPath, "no gateway answers", { transient: true });
  const flat = flatStateName(name, parseTreePath("extras"));
  for (const each of [name, flat]) outage.noteFailure(each, failure);
  const next = outage.handOver(name);
  next.noteFailure(name, failure);
  expect(messages).toHaveLength(1);
  next.noteSuccess(name);
  expect(messages).toEqual(["the tree is away: what was published is still served", "the tree is back"]);
  // While all is well, nothing is handed over.
  outage.handOver(name).noteSuccess(name);
  expect(messages).toHaveLength(2);
});

test("a directory that cannot be read while the rest can be is no outage, and is logged once too", async () => {
  const { served, state, messages } = await aRepository();
  state.fails = (path) => path === `${place}/bob`;
  for (let n = 0; n < 3; n += 1) await served.ping();
  const failed = "warn: a directory could not be listed";
  await expect.poll(messages).toEqual([failed]);
  state.fails = (path) => path === "dists/sid";
  for (let n = 0; n < 3; n += 1) await expect(served.ping()).rejects.toThrow(StorageUnavailable);
  await expect.poll(messages).toEqual([failed, failed]);
  state.fails = () => false;
  await served.ping();
  await expect.poll(messages).toEqual([failed, failed, "info: up to date again"]);
});
