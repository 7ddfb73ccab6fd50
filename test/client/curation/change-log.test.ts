// The change log of a directory: numbered files, of which the last contains all lines until it is complete.
import { expect, test } from "vitest";
import { ContentId } from "../../../src/base/content-id.ts";
import { parseTreePath, rootPath } from "../../../src/base/names.ts";
import type { ChangeLogEntry } from "../../../src/client/curation/change-log.ts";
import { nextChangeLog } from "../../../src/client/curation/change-log.ts";
import type { Entry, Tree } from "../../../src/storage/tree.ts";
import { StorageUnavailable } from "../../../src/storage/tree.ts";

const { signal } = new AbortController();
const clock = () => Date.UTC(2026, 10, 22, 13, 45);
const event: ChangeLogEntry = {
  action: "remove",
  package: "hello",
  version: "1.0-1",
  architecture: "amd64",
  sha256: "00",
  path: parseTreePath("hello_1.0-1_amd64.deb"),
};

/** A fake tree with one directory. Entries without text are unreadable. */
function aDirectory(texts: { readonly [name: string]: string | undefined }): {
  tree: Tree;
  entries: Map<string, Entry>;
} {
  const entries = Object.entries(texts).map(([name, text]): [string, Entry] => [
    name,
    {
      kind: "file",
      sizeBytes: text?.length ?? 10,
      content: new ContentId(name),
      linkedAtMs: 0,
      relinkedAtMs: 0,
      metadata: undefined,
    },
  ]);
  const tree: Tree = {
    look: async () => undefined,
    async *open({ path }) {
      const text = texts[path];
      if (text === undefined) throw new StorageUnavailable(path, "its shares are gone", { transient: false });
      yield Buffer.from(text);
    },
  };
  return { tree, entries: new Map(entries) };
}

const next = async (texts: { readonly [name: string]: string | undefined }) =>
  await nextChangeLog({ ...aDirectory(texts), directory: rootPath }, [event, event], "alice", { clock, signal });

test("the first file has number 1, and a line contains time, author, action, package and path", async () => {
  const { name, text, superseded } = await next({ "hello_1.0-1_amd64.deb": "" });
  expect([name, superseded]).toEqual(["audit.1.jsonl", []]);
  expect(
    text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as unknown),
  ).toEqual([
    { time: "2026-11-22T13:45:00.000Z", by: "alice", ...event },
    { time: "2026-11-22T13:45:00.000Z", by: "alice", ...event },
  ]);
});

test("the next file contains all earlier lines, and replaces every incomplete file", async () => {
  const { name, text, superseded } = await next({ "audit.9.jsonl": "nine\n", "audit.10.jsonl": "nine\nten" });
  expect(name).toBe("audit.11.jsonl");
  expect(text.split("\n").slice(0, 2)).toEqual(["nine", "ten"]);
  expect(superseded).toEqual(["audit.9.jsonl", "audit.10.jsonl"]);
});

test("complete files and unreadable ones are kept", async () => {
  const full = { "audit.3.jsonl": "x".repeat(256 * 1024) };
  const started = await next(full);
  expect([started.name, started.superseded, started.text.split("\n").length]).toEqual(["audit.4.jsonl", [], 3]);
  expect((await next({ ...full, "audit.4.jsonl": "four\n" })).superseded).toEqual(["audit.4.jsonl"]);
  const lost = await next({ "audit.7.jsonl": undefined });
  expect([lost.name, lost.superseded]).toEqual(["audit.8.jsonl", []]);
});

test("files with invalid numbers or the highest number do not prevent a new file", async () => {
  expect(
    (await next({ "audit.jsonl": "", "audit.0.jsonl": "", "audit.01.jsonl": "", "xaudit.5.jsonl": "" })).name,
  ).toBe("audit.1.jsonl");
  expect((await next({ "audit.999999999.jsonl": "last\n", "audit.1.jsonl": "" })).name).toBe("audit.2.jsonl");
});
