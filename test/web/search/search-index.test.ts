// The index of packages over real publications, beside one that reads everything again.
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { silentLog } from "../../../src/base/log.ts";
import { Publications } from "../../../src/web/data/publications.ts";
import { IndexDatabase } from "../../../src/web/search/index-database.ts";
import type { IndexRequest } from "../../../src/web/search/index-messages.ts";
import { IndexThread } from "../../../src/web/search/index-thread.ts";
import { SearchIndex } from "../../../src/web/search/search-index.ts";
import { aDeb } from "../../support/debs.ts";
import { ScannedIndex } from "../../support/scanned-index.ts";
import { ServedFolder } from "../../support/served-folder.ts";
import { onceUnchanged } from "../../support/unchanged.ts";

const noSignal = new AbortController().signal;

/** The index that is told about publications: the one that was opened last. */
let current: SearchIndex | undefined;
const changed = () => current?.changed();
const observed = { observer: { published: changed, withdrawn: changed } };

/** A folder, and its index in a real thread. */
function indexed(served = new ServedFolder(observed)) {
  const thread = new IndexThread();
  const listeners: ((request: IndexRequest) => void)[] = [];
  const listening: Pick<IndexThread, "ask"> = {
    ask: (request, signal, moved) => {
      for (const listener of listeners) listener(request);
      return thread.ask(request, signal, moved);
    },
  };
  const publications = new Publications([{ repository: served.repository }]);
  const file = join(served.state, "search.sqlite");
  const index = new SearchIndex({ publications, thread: listening, file, log: silentLog });
  current = index;
  const close = async (): Promise<void> => {
    await index.stop();
    await thread.close();
  };
  onTestFinished(close);
  const onAsk = (listener: (request: IndexRequest) => void) => void listeners.push(listener);
  return { served, index, close, file, onAsk, scanned: new ScannedIndex(publications) };
}

async function put(served: ServedFolder, name: string, version: string, fields = {}, linkedAtSeconds?: number) {
  const bytes = await aDeb({ package: name, version, architecture: "amd64", fields });
  served.put(`dists/sid/main/binary-amd64/alice/${name}_${version}_amd64.deb`, bytes, linkedAtSeconds);
}

const all = { text: "", sort: "name", skip: 0, limit: 100 } as const;

test("packages are found by beginnings of words in names, descriptions, sources and maintainers", async () => {
  const { served, index } = indexed();
  await put(served, "libssl3", "3", { Source: "openssl", Description: "toolkit for secrets" });
  await put(served, "hello", "1", {
    Maintainer: "Ada Lovelace <ada@example.org>",
    Description: "greets\n the toolbox",
  });
  await served.ping();
  await index.settled();
  const found = async (text: string) =>
    (await index.search({ ...all, text, sort: "relevance" }, noSignal)).entries.map((rows) => rows[0]?.name);
  expect(await found("ssl")).toEqual(["libssl3"]);
  expect(await found("openssl")).toEqual(["libssl3"]);
  expect(await found("lovel")).toEqual(["hello"]);
  expect(await found("tool")).toEqual(["libssl3", "hello"]);
  expect(await found("tool greet")).toEqual(["hello"]);
  expect(await found("hello ssl")).toEqual([]);
  expect(await found('"nowhere" OR hello')).toEqual([]);
});

test("the index follows packages that are added, replaced and removed", async () => {
  const { served, index, scanned } = indexed();
  const isEqual = async () => {
    await index.settled();
    const [rows, expected] = [await index.search(all, noSignal), await scanned.search(all)];
    expect(rows).toEqual(expected);
    return rows.entries.map((entries) => entries.map(({ version }) => version).join());
  };
  await put(served, "hello", "1", { Description: "old words" });
  await put(served, "other", "1", { Depends: "hello" });
  await served.ping();
  expect(await isEqual()).toEqual(["1", "1"]);
  await put(served, "hello", "2", { Description: "new words" });
  await served.ping();
  expect(await isEqual()).toEqual(["1,2", "1"]);
  served.remove("dists/sid/main/binary-amd64/alice/hello_1_amd64.deb");
  await served.ping();
  expect(await isEqual()).toEqual(["2", "1"]);
  expect((await index.search({ ...all, text: "old" }, noSignal)).total).toBe(0);
  expect((await index.dependents(["hello"], { skip: 0, limit: 9 }, noSignal)).entries).toMatchObject([
    { row: { name: "other" }, field: "Depends", on: "hello" },
  ]);
  served.remove("dists/sid/main/binary-amd64/alice/other_1_amd64.deb");
  await served.ping();
  expect(await isEqual()).toEqual(["2"]);
  expect((await index.dependents(["hello"], { skip: 0, limit: 9 }, noSignal)).total).toBe(0);
});

test("long descriptions in Translation-en are searched, also those of a new version with an old description", async () => {
  const { served, index } = indexed(new ServedFolder({ ...observed, translations: true }));
  const found = async (text: string) =>
    (await index.search({ ...all, text }, noSignal)).entries.map((rows) => rows.map(({ version }) => version).join());
  const Description = "greets\n politely, in many languages";
  await put(served, "hello", "1", { Description });
  await put(served, "other", "1", { Description: "short" });
  await served.ping();
  await index.settled();
  expect(await found("languages")).toEqual(["1"]);
  await put(served, "hello", "2", { Description, Maintainer: "Somebody Else <else@example.org>" });
  served.remove("dists/sid/main/binary-amd64/alice/hello_1_amd64.deb");
  await served.ping();
  await index.settled();
  expect(await found("languages else")).toEqual(["2"]);
  await put(served, "hello", "2", { Description: "greets\n in one tongue" });
  await served.ping();
  await index.settled();
  expect(await found("languages")).toEqual([]);
  expect(await found("tongue")).toEqual(["2"]);
  served.remove("dists/sid/main/binary-amd64/alice/hello_2_amd64.deb");
  await served.ping();
  await index.settled();
  expect(await found("tongue")).toEqual([]);
});

test("after a restart the index is there, and only what has changed is read", async () => {
  const first = indexed();
  await put(first.served, "hello", "1");
  await first.served.ping();
  await first.index.settled();
  await first.close();
  const again = indexed(first.served);
  const asked: string[] = [];
  again.onAsk((request) => asked.push(request.kind));
  await again.index.settled();
  expect((await again.index.search(all, noSignal)).total).toBe(1);
  expect(asked).not.toContain("parse");
  await put(first.served, "other", "1");
  await first.served.ping();
  await again.index.settled();
  expect((await again.index.search(all, noSignal)).total).toBe(2);
});

test("nothing is indexed in the first seconds after a start, which belong to apt, unless somebody asks", async () => {
  const { served, index, onAsk } = indexed();
  await put(served, "hello", "1");
  await served.ping();
  const asked: string[] = [];
  onAsk((request) => asked.push(request.kind));
  index.start();
  index.changed();
  await onceUnchanged(() => asked.length);
  expect(asked).toEqual([]);
  await index.search(all, noSignal);
  await index.settled();
  expect(asked).toContain("parse");
});

test.each([
  ["is corrupt", (file: string) => writeFileSync(file, randomBytes(100_000))],
  ["is shorter than it was", (file: string) => truncateSync(file, 5000)],
  ["has the lock of a process that was killed", (file: string) => mkdirSync(`${file}.lock`)],
  ["is missing", (file: string) => rmSync(file)],
])("a database that %s is replaced or used, and packages are found", async (_what, harm) => {
  const first = indexed();
  await put(first.served, "hello", "1");
  await first.served.ping();
  await first.index.settled();
  await first.close();
  harm(first.file);
  const again = indexed(first.served);
  await again.index.settled();
  await expect.poll(async () => (await again.index.search(all, noSignal).catch(() => undefined))?.total).toBe(1);
});

/** Runs in a process of its own: adds a complete segment, and is killed when a second one is half written. */
const killed = `
import { IndexDatabase } from ${JSON.stringify(new URL("../../../dist/web/search/index-database.js", import.meta.url).href)};
const row = (name) => ({ name, version: "1", architecture: "all", isSource: false, source: name, sourceVersion: "1",
  section: "", description: name, sizeBytes: 1, sha256: "", path: name, place: { segment: "", start: 0, end: 0 } });
const stanza = (name) => ({ row: row(name), maintainer: "", description: name + " " + (name + " ").repeat(300), descriptionMd5: undefined, relations: new Map(),
  provides: [], hash: Buffer.from(name) });
const segment = (name) => ({ suite: "sid", component: "main", kind: "binary", isForInstaller: false, name });
const many = Array.from({ length: 6000 }, (_, n) => stanza("package" + n));
const db = IndexDatabase.open(process.argv[1]);
db.add(segment("whole"), many.slice(0, 1000), []);
Object.defineProperty(many, 5999, { get: () => process.kill(process.pid, "SIGKILL") });
db.add(segment("half"), many, []);
`;

test("a process that is killed while it writes leaves a sound database, without what was half written", () => {
  const directory = mkdtempSync(join(tmpdir(), "tahoe-apt-search-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const file = join(directory, "search.sqlite");
  const { signal } = spawnSync(process.execPath, ["--input-type=module", "-e", killed, file], { stdio: "inherit" });
  expect(signal).toBe("SIGKILL");
  const database = IndexDatabase.open(file);
  onTestFinished(() => database.close());
  expect(database.get("PRAGMA integrity_check")).toEqual({ integrity_check: "ok" });
  expect(database.stateOf("sid").segments.map(({ name }) => name)).toEqual(["whole"]);
  expect(database.get("SELECT count(*) count FROM entry")).toEqual({ count: 1000 });
});
