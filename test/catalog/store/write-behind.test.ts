// Unwritten values are limited in bytes and in number.
import type { Database } from "lmdb";
import { expect, test } from "vitest";
import { WriteBehind } from "../../../src/catalog/store/write-behind.ts";

const mebibyte = 2 ** 20;

/** A fake: a disk that writes nothing until the test says so. */
function aSlowDisk() {
  const waiting: (() => void)[] = [];
  const database = {
    put: () => new Promise<boolean>((resolve) => waiting.push(() => resolve(true))),
    get: () => undefined,
  };
  const write = () => {
    for (const done of waiting.splice(0)) done();
  };
  return { kept: new WriteBehind(database as unknown as Database<Buffer, string>), write };
}

/** Whether a promise is settled after one turn of the event loop. */
async function isSettled(promise: Promise<void>): Promise<boolean> {
  let settled = false;
  void promise.then(() => {
    settled = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  return settled;
}

test("small values do not wait for the disk, and can be read before they are written", async () => {
  const { kept } = aSlowDisk();
  expect(await isSettled(kept.put("a", Buffer.from("short")))).toBe(true);
  expect(kept.get("a")?.toString()).toBe("short");
});

test("beyond the limit of unwritten bytes the next value waits for the disk", async () => {
  const { kept, write } = aSlowDisk();
  for (let n = 0; n < 15; n++) expect(await isSettled(kept.put(`k${n}`, Buffer.alloc(mebibyte)))).toBe(true);
  const last = kept.put("last", Buffer.alloc(mebibyte));
  expect(await isSettled(last)).toBe(false);
  write();
  await last;
  expect(await isSettled(kept.put("next", Buffer.alloc(mebibyte)))).toBe(true);
});
