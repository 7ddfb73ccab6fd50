// The contract of every tree, run by each backend and each decorator.
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ContentId } from "../../src/base/content-id.ts";
import { parseTreePath, rootPath } from "../../src/base/names.ts";
import { readLocalFile } from "../../src/storage/local-file.ts";
import type { ByteRange, Directory, FileEntry, Tree } from "../../src/storage/tree.ts";
import { ContentGone } from "../../src/storage/tree.ts";
import { onceUnchanged } from "./unchanged.ts";

/** A tree under test, and functions that change its contents. */
export interface TreeSubject {
  readonly tree: Tree;
  /** Writes or replaces a file, and creates its parents. */
  put(path: string, bytes: Uint8Array): Promise<void>;
  makeDirectory(path: string): Promise<void>;
  remove(path: string): Promise<void>;
  /** Whether bytes can be opened by their content id after their name was removed. */
  readonly keepsUnlinked: boolean;
  /** Whether a thread may read small files itself. */
  readonly readsLocally?: boolean;
  /** How many bytes the tree has read from its source, if that is known. */
  bytesDrawn?(): number;
  end(): Promise<void>;
}

/** Names that may cause trouble in URLs, file systems or JSON. */
const oddNames = [
  "a+b~c.deb",
  "sp ace%20",
  "%3a literal",
  "%",
  "é€😀",
  "q?x#y&=;",
  "a:b@c",
  "-rf",
  "'\"\\`$(x)",
  "__proto__",
  "...",
  "[1,2]*",
  "x".repeat(200),
] as const;

const bigBytes = 12 * 1024 * 1024;
/** The maximum between the storage and the consumer: our own 100 kB and, for a gateway, the sockets' buffers. */
const readAheadBytes = 8 * 1024 * 1024;
const idle = new AbortController().signal;
const path = parseTreePath;

export function treeContract(name: string, make: () => Promise<TreeSubject>): void {
  let subject: TreeSubject;
  const content = randomBytes(300_000);
  const big = randomBytes(bigBytes);

  beforeAll(async () => {
    subject = await make();
    await subject.put("top.txt", Buffer.from("at the top"));
    await subject.put("a/b/c/deep", content);
    await subject.put("a/empty", Buffer.alloc(0));
    await subject.put("a/tiny", Buffer.from("tiny"));
    await subject.put("big", big);
    await subject.makeDirectory("hollow");
  });
  afterAll(async () => subject?.end());

  const fileAt = async (at: string): Promise<FileEntry> => {
    const node = await subject.tree.look(path(at), idle);
    if (node?.kind !== "file") throw new Error(`${at} is no file but ${node?.kind}`);
    return node;
  };
  const directoryAt = async (at: string): Promise<Directory> => {
    const node = await subject.tree.look(path(at), idle);
    if (node?.kind !== "directory") throw new Error(`${at} is not a directory but ${node?.kind}`);
    return node;
  };
  const open = async (at: string, range?: ByteRange, signal = idle): Promise<AsyncIterable<Uint8Array>> =>
    subject.tree.open({ path: path(at), content: (await fileAt(at)).content }, range, signal);

  test(`${name}: a directory is returned with its whole listing`, async () => {
    const { entries } = await directoryAt("");
    expect([...entries].map(([entry, { kind }]) => `${entry} ${kind}`).toSorted()).toEqual([
      "a directory",
      "big file",
      "hollow directory",
      "top.txt file",
    ]);
    expect([...(await directoryAt("a/b")).entries.keys()]).toEqual(["c"]);
    expect((await directoryAt("hollow")).entries.size).toBe(0);
  });

  test(`${name}: a file has the same properties by itself and in the listing of its directory`, async () => {
    const listed = (await directoryAt("a/b/c")).entries.get("deep");
    const alone = await fileAt("a/b/c/deep");
    expect(listed?.kind === "file" && listed.content?.key).toBe(alone.content?.key);
    expect({ ...listed, content: undefined }).toEqual({ ...alone, content: undefined });
    expect(alone.sizeBytes).toBe(content.length);
    expect(alone.content).toBeInstanceOf(ContentId);
    const aDayMs = 86_400_000;
    expect(Math.abs(Date.now() - alone.linkedAtMs)).toBeLessThan(aDayMs);
    expect(Number.isInteger(alone.linkedAtMs) && Number.isInteger(alone.relinkedAtMs)).toBe(true);
  });

  test(`${name}: a missing path is undefined, below a directory, a file and another missing path`, async () => {
    for (const missing of ["nope", "a/nope", "a/b/c/nope", "nope/nope/nope", "top.txt/nope", "a/tiny/x/y"]) {
      expect(await subject.tree.look(path(missing), idle), missing).toBeUndefined();
    }
  });

  test(`${name}: a file is read completely, including tiny and empty ones`, async () => {
    expectSame(await collect(await open("a/b/c/deep")), content);
    expect((await collect(await open("a/tiny"))).toString()).toBe("tiny");
    expect(await collect(await open("a/empty"))).toHaveLength(0);
    expectSame(await collect(await open("big")), big);
  });

  test(`${name}: a small file that a thread may read itself has the same bytes there`, async () => {
    for (const at of ["a/b/c/deep", "a/empty", "top.txt"]) {
      const local = subject.tree.localFile?.({ path: path(at), content: (await fileAt(at)).content });
      expect(local !== undefined, at).toBe(subject.readsLocally ?? false);
      if (local !== undefined)
        expectSame(await collect(await open(at)), readLocalFile(local.location) ?? Buffer.from("none"));
    }
  });

  test(`${name}: a range returns exactly its bytes, up to the end of the file`, async () => {
    const size = content.length;
    const ranges: readonly ByteRange[] = [
      { start: 0, end: 1 },
      { start: 0, end: 100_000 },
      { start: 99_999, end: 200_001 },
      { start: size - 1 },
      { start: size - 10, end: size + 10 },
      { start: size },
      { start: size + 5 },
      { start: 7, end: 7 },
      { start: 0 },
      { start: 5 },
    ];
    for (const range of ranges) {
      expectSame(await collect(await open("a/b/c/deep", range)), content.subarray(range.start, range.end));
    }
    expect((await collect(await open("a/tiny", { start: 1, end: 3 }))).toString()).toBe("in");
    expect(await collect(await open("a/empty", { start: 0, end: 5 }))).toHaveLength(0);
  });

  test(`${name}: a file is read by its path if its content id is unknown`, async () => {
    const chunks = subject.tree.open({ path: path("a/b/c/deep"), content: undefined }, { start: 10, end: 20 }, idle);
    expectSame(await collect(chunks), content.subarray(10, 20));
  });

  test(`${name}: odd names are listed and read like others`, async () => {
    for (const odd of oddNames) await subject.put(`odd/${odd}/${odd}`, Buffer.from(odd));
    const { entries } = await directoryAt("odd");
    expect([...entries.keys()].toSorted()).toEqual([...oddNames].toSorted());
    for (const odd of oddNames) {
      expect((await collect(await open(`odd/${odd}/${odd}`))).toString()).toBe(odd);
      expect([...(await directoryAt(`odd/${odd}`)).entries.keys()]).toEqual([odd]);
    }
  });

  test(`${name}: other bytes under the same name have another content id`, async () => {
    await subject.put("changing", Buffer.from("first"));
    const first = await fileAt("changing");
    expect((await fileAt("changing")).content?.key).toBe(first.content?.key);
    await subject.put("changing", Buffer.from("other"));
    const second = await fileAt("changing");
    expect(second.content?.key).not.toBe(first.content?.key);
    expect((await collect(await open("changing"))).toString()).toBe("other");
  });

  test(`${name}: bytes that were unlinked after their listing are unchanged or gone, but never replaced`, async () => {
    const bytes = randomBytes(1000);
    await subject.put("fleeting/file", bytes);
    const { content: id } = await fileAt("fleeting/file");
    await subject.remove("fleeting/file");
    expect(await subject.tree.look(path("fleeting/file"), idle)).toBeUndefined();
    for (const replaced of [false, true]) {
      if (replaced) await subject.put("fleeting/file", randomBytes(1000));
      const read = collect(subject.tree.open({ path: path("fleeting/file"), content: id }, undefined, idle));
      if (subject.keepsUnlinked) expectSame(await read, bytes);
      else await expect(read).rejects.toBeInstanceOf(ContentGone);
    }
  });

  test(`${name}: opening a directory, a missing file or one of another storage fails as gone`, async () => {
    for (const at of ["nope", "a", "", "top.txt/x"]) {
      const chunks = subject.tree.open({ path: path(at), content: undefined }, undefined, idle);
      await expect(collect(chunks), at).rejects.toBeInstanceOf(ContentGone);
    }
    const stranger = { path: path("top.txt"), content: new ContentId("stranger:1") };
    await expect(collect(subject.tree.open(stranger, undefined, idle))).rejects.toBeInstanceOf(ContentGone);
  });

  test(`${name}: a call with an aborted signal fails with the signal's reason`, async () => {
    const reason = new Error("the asker has gone");
    const aborted = AbortSignal.abort(reason);
    await expect(subject.tree.look(rootPath, aborted)).rejects.toBe(reason);
    await expect(collect(await open("top.txt", undefined, aborted))).rejects.toBe(reason);
  });

  test(`${name}: aborting in the middle of a stream or a listing makes it fail with the signal's reason`, async () => {
    const reason = new Error("the asker has gone");
    const controller = new AbortController();
    const chunks = await open("big", undefined, controller.signal);
    const read = async (): Promise<void> => {
      for await (const _chunk of chunks) controller.abort(reason);
    };
    await expect(read()).rejects.toBe(reason);

    const second = new AbortController();
    const look = subject.tree.look(rootPath, second.signal);
    second.abort(reason);
    await expect(look).rejects.toBe(reason);
  });

  test(`${name}: nothing is read far ahead of a slow consumer, and it receives all bytes`, async () => {
    const before = subject.bytesDrawn?.() ?? 0;
    let pausedAt = 0;
    const chunks: Uint8Array[] = [];
    let taken = 0;
    for await (const chunk of await open("big")) {
      chunks.push(chunk);
      taken += chunk.length;
      expect(chunk.length).toBeLessThanOrEqual(256 * 1024);
      if (pausedAt === 0 && taken > 200_000) {
        pausedAt = taken;
        await onceUnchanged(() => subject.bytesDrawn?.());
        if (subject.bytesDrawn !== undefined) {
          expect(subject.bytesDrawn() - before).toBeLessThan(pausedAt + readAheadBytes);
        }
      }
    }
    expectSame(Buffer.concat(chunks), big);
  });

  test(`${name}: many streams that are left early are closed and block nothing`, async () => {
    for (let round = 0; round < 40; round++) {
      for await (const chunk of await open("big")) {
        expect(chunk.length).toBeGreaterThan(0);
        break;
      }
    }
    expect((await collect(await open("top.txt"))).toString()).toBe("at the top");
  });

  test(`${name}: many parallel listings and reads all get their own result`, async () => {
    const jobs = Array.from({ length: 60 }, async (_, index) => {
      const range = { start: index * 1000, end: index * 1000 + 1000 };
      expectSame(await collect(await open("a/b/c/deep", range)), content.subarray(range.start, range.end));
    });
    await Promise.all(jobs);
  });
}

/** Instead of `toEqual`, which takes minutes for some million bytes. */
function expectSame(actual: Buffer, wanted: Uint8Array): void {
  expect(actual.length).toBe(wanted.length);
  expect(actual.equals(wanted)).toBe(true);
}

/** All chunks in one. */
export async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return Buffer.concat(all);
}
