// Bounded reading into memory.
import { expect, test } from "vitest";
import { readAtMost } from "../../src/base/read-at-most.ts";

/** Three chunks of three bytes; notes how many were pulled. */
function counted() {
  const pulled: number[] = [];
  async function* chunks(): AsyncGenerator<Uint8Array> {
    for (const at of [0, 3, 6]) {
      pulled.push(at);
      yield Uint8Array.of(at, at + 1, at + 2);
    }
  }
  return { pulled, chunks: chunks() };
}

test("a stream of exactly the bound is read whole", async () => {
  expect(await readAtMost(counted().chunks, 9)).toEqual(Buffer.from([0, 1, 2, 3, 4, 5, 6, 7, 8]));
});

test("a stream with one byte more gives nothing, and is read no further", async () => {
  const { pulled, chunks } = counted();
  expect(await readAtMost(chunks, 5)).toBeUndefined();
  expect(pulled).toEqual([0, 3]);
  expect(await chunks.next()).toEqual({ done: true, value: undefined });
});

test("an empty stream is an empty buffer, not an absent one", async () => {
  expect(await readAtMost((async function* () {})(), 0)).toEqual(Buffer.alloc(0));
});
