// The stored state of the last Contents. A package may disappear and return with the same content.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { parseRepositoryName, parseSuite } from "../../../../src/base/names.ts";
import { yieldToEventLoop } from "../../../../src/base/yield-to-event-loop.ts";
import { ContentsStore } from "../../../../src/publishing/deferred/contents/contents-store.ts";
import { openStateDatabase } from "../../../../src/publishing/store/state-database.ts";

function openState() {
  const directory = mkdtempSync(join(tmpdir(), "tahoe-apt-contents-"));
  const root = openStateDatabase(directory);
  onTestFinished(async () => {
    await root.close();
    rmSync(directory, { recursive: true });
  });
  return { root, state: new ContentsStore(root, parseRepositoryName("debian")) };
}

const yieldNow = yieldToEventLoop(new AbortController().signal);

test("members are those that were added and not removed since, separately for each suite", async () => {
  const { state } = openState();
  const [sid, sidNext] = [parseSuite("sid"), parseSuite("sid-next")];
  const member = (record: string) => ({ group: "deb/main/amd64", location: "utils/p", record });
  const keysOf = async (suite: typeof sid): Promise<readonly string[]> => {
    const keys: string[] = [];
    for await (const [key, { record }] of state.members(suite, yieldNow)) keys.push(`${key}=${record}`);
    return keys.toSorted();
  };
  const added = new Map(["aa", "ab", "b", "c"].map((key) => [key, member(`r-${key}`)]));
  await state.save(sid, { removed: [], added, indices: [] }, yieldNow);
  await state.save(sidNext, { removed: [], added: new Map([["aa", member("next")]]), indices: [] }, yieldNow);
  await state.save(sid, { removed: ["aa", "c"], added: new Map([["ad", member("r-ad")]]), indices: [] }, yieldNow);
  expect(await keysOf(sid)).toEqual(["ab=r-ab", "ad=r-ad", "b=r-b"]);
  expect(await keysOf(sidNext)).toEqual(["aa=next"]);
  await state.save(sid, { removed: [], added: new Map([["aa", member("again")]]), indices: [] }, yieldNow);
  expect(await keysOf(sid)).toEqual(["aa=again", "ab=r-ab", "ad=r-ad", "b=r-b"]);
});

test("indices with another rendering version are not reused: replicas that start from nothing would have other bytes", async () => {
  const { root, state } = openState();
  const sid = parseSuite("sid");
  const form = { sizeBytes: 0, sha256: "" };
  const forms = { plain: form, gz: form, xz: form };
  const index = { directory: "main", name: "Contents-amd64", forms, segments: [] };
  await state.save(sid, { removed: [], added: [], indices: [index] }, yieldNow);
  expect(state.indices(sid)).toEqual([index]);
  const kept = root.openDB<object, string>({ name: "debian/contents-indices" });
  for (const older of [[index], { renderingVersion: "contents 0", indices: [index] }]) {
    await kept.put(sid, older);
    expect(state.indices(sid)).toEqual([]);
  }
});
