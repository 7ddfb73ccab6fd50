// One stream for two readers: both get all bytes, and neither waits for a reader that has ended.
import { expect, test } from "vitest";
import { Tee } from "../../../src/client/import/tee.ts";

async function* numbers(count: number, seen: number[] = []): AsyncGenerator<Uint8Array> {
  for (let n = 0; n < count; n++) {
    seen.push(n);
    yield Uint8Array.of(n);
  }
}

async function all(content: AsyncIterable<Uint8Array>): Promise<readonly number[]> {
  const found: number[] = [];
  for await (const chunk of content) found.push(...chunk);
  return found;
}

test("both readers get all chunks in order", async () => {
  const tee = new Tee(numbers(100));
  const [main, copy] = await Promise.all([all(tee.main()), all(tee.copy())]);
  expect(main).toEqual(Array.from({ length: 100 }, (_, n) => n));
  expect(copy).toEqual(main);
});

test("the main reader reads no further than one chunk before the copy, so that memory stays small", async () => {
  const seen: number[] = [];
  const tee = new Tee(numbers(100, seen));
  const copy = tee.copy();
  const main = all(tee.main());
  await copy.next();
  await new Promise((resolve) => setImmediate(resolve));
  expect(seen.length).toBeLessThanOrEqual(2);
  await Promise.all([main, all(copy)]);
  expect(seen).toHaveLength(100);
});

test("the main reader reads on alone when the reader of the copy ends early", async () => {
  const tee = new Tee(numbers(10));
  const copy = tee.copy();
  const main = all(tee.main());
  await copy.next();
  await copy.return(undefined);
  expect(await main).toHaveLength(10);
});

test("the copy ends with an error if the stream was not read to its end, also before its start", async () => {
  const never = new Tee(numbers(10));
  const reading = all(never.copy());
  never.stop();
  await expect(reading).rejects.toThrow("not read to its end");
  const broken = new Tee(
    (async function* () {
      yield Uint8Array.of(1);
      throw new Error("the source broke");
    })(),
  );
  const copy = all(broken.copy());
  await expect(all(broken.main()).finally(() => broken.stop())).rejects.toThrow("the source broke");
  await expect(copy).rejects.toThrow("not read to its end");
});
