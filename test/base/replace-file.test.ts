// A file is replaced as a whole or stays unchanged, and no draft remains beside it.
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createFile, replaceFile } from "../../src/base/replace-file.ts";
import { temporaryDirectory } from "../support/temporary-directory.ts";

const aFile = (): string => join(temporaryDirectory("replace-file"), "file");
const beside = async (file: string): Promise<string[]> => await readdir(join(file, ".."));

test("after many concurrent writes one content remains whole, and no draft remains", async () => {
  const file = aFile();
  const texts = Array.from({ length: 50 }, (_, n) => String(n).repeat(10_000));
  await Promise.all(texts.map((text) => replaceFile(file, text)));
  expect(texts).toContain(await readFile(file, "utf8"));
  expect(await beside(file)).toEqual(["file"]);
});

test("a reader sees a whole file at every moment", async () => {
  const file = aFile();
  const texts = ["a".repeat(500_000), "b".repeat(400_000)];
  await replaceFile(file, texts[0]!);
  let isWriting = true;
  const reading = (async () => {
    while (isWriting) expect(texts).toContain(await readFile(file, "utf8"));
  })();
  for (let n = 0; n < 30; n++) await replaceFile(file, texts[n % 2]!);
  isWriting = false;
  await reading;
});

test("content that throws leaves the old file, and no draft", async () => {
  const file = aFile();
  await writeFile(file, "old");
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield Buffer.from("new, but");
    throw new Error("the source broke off");
  }
  await expect(replaceFile(file, broken())).rejects.toThrow("the source broke off");
  expect(await readFile(file, "utf8")).toBe("old");
  expect(await beside(file)).toEqual(["file"]);
});

test("an aborted write leaves the old file, and no draft", async () => {
  const file = aFile();
  await writeFile(file, "old");
  const stop = new AbortController();
  async function* endless(): AsyncGenerator<Uint8Array> {
    for (let n = 0; ; n++) {
      yield Buffer.alloc(1000);
      if (n === 5) stop.abort();
    }
  }
  await expect(replaceFile(file, endless(), { signal: stop.signal })).rejects.toThrow();
  expect(await readFile(file, "utf8")).toBe("old");
  expect(await beside(file)).toEqual(["file"]);
});

test("the file of a secret has its permissions, whatever the umask and the old permissions are", async () => {
  const file = aFile();
  await writeFile(file, "old", { mode: 0o666 });
  const before = process.umask(0o277);
  try {
    await replaceFile(file, "new", { mode: 0o640 });
  } finally {
    process.umask(before);
  }
  expect((await stat(file)).mode & 0o777).toBe(0o640);
});

test("a file with the longest possible name is replaced too", async () => {
  const file = join(aFile(), "..", "n".repeat(255));
  await replaceFile(file, "x");
  expect(await beside(file)).toEqual(["n".repeat(255)]);
});

test("a file is created once and never replaced, also by concurrent calls", async () => {
  const file = aFile();
  const made = await Promise.all(Array.from({ length: 20 }, (_, n) => createFile(file, `by ${n}`)));
  expect(made.filter((isOurs) => isOurs)).toHaveLength(1);
  expect(await readFile(file, "utf8")).toBe(`by ${made.indexOf(true)}`);
  expect(await createFile(file, "later")).toBe(false);
  expect(await beside(file)).toEqual(["file"]);
});
