// The web API backend with a real Tahoe grid: the tree contract, and features that only Tahoe has.
import fetch from "node-fetch";
import { expect, inject, test } from "vitest";
import { parseTreePath, rootPath } from "../../src/base/names.ts";
import type { WriteCap } from "../../src/storage/tahoe/caps.ts";
import { parseReadCap } from "../../src/storage/tahoe/caps.ts";
import { Webapi } from "../../src/storage/tahoe/webapi.ts";
import { WebapiTree } from "../../src/storage/tahoe/webapi-tree.ts";
import { WebapiWriter } from "../../src/storage/tahoe/webapi-writer.ts";
import { StorageUnavailable } from "../../src/storage/tree.ts";
import { collect, treeContract } from "../support/tree-contract.ts";

const { signal } = new AbortController();

async function newTree(): Promise<{ root: WriteCap; writer: WebapiWriter; tree: WebapiTree }> {
  const webapi = new Webapi(inject("webapiUrl"));
  const writer = new WebapiWriter(webapi);
  const root = await writer.createDirectory(signal);
  return { root, writer, tree: new WebapiTree(webapi, await writer.readCapOf(root, signal)) };
}

treeContract("a Tahoe directory", async () => {
  const { root, writer, tree } = await newTree();
  return {
    tree,
    async put(path, bytes) {
      await writer.put(root, parseTreePath(path), bytes, signal);
    },
    async makeDirectory(path) {
      await writer.makeDirectory(root, parseTreePath(path), signal);
    },
    remove: (path) => writer.unlink(root, parseTreePath(path), signal),
    keepsUnlinked: true,
    async end() {},
  };
});

test("the listing contains the uploader's metadata under the key apt, and no other metadata", async () => {
  const { root, writer, tree } = await newTree();
  const content = await writer.upload(Buffer.alloc(100, 1), signal);
  await writer.link(root, new Map([["x.deb", { content, metadata: { version: 1, size: 100 } }]]), signal);
  const node = await tree.look(rootPath, signal);
  const entry = node?.kind === "directory" ? node.entries.get("x.deb") : undefined;
  expect(entry).toMatchObject({ kind: "file", sizeBytes: 100, metadata: { version: 1, size: 100 } });
  expect(await tree.look(parseTreePath("x.deb"), signal)).toEqual(entry);
});

test("uploading the same bytes again updates the time of the link, but not of its first link", async () => {
  const { root, writer, tree } = await newTree();
  const path = parseTreePath("again");
  await writer.put(root, path, Buffer.alloc(200, 2), signal);
  const before = await tree.look(path, signal);
  await writer.put(root, path, Buffer.alloc(200, 2), signal);
  const after = await tree.look(path, signal);
  if (before?.kind !== "file" || after?.kind !== "file") throw new Error("no file");
  expect(after.linkedAtMs).toBe(before.linkedAtMs);
  expect(after.relinkedAtMs).toBeGreaterThan(before.relinkedAtMs);
  expect(after.content?.key).toBe(before.content?.key);
});

test("a stream of unknown length is uploaded completely", async () => {
  const { writer, tree } = await newTree();
  async function* pieces(): AsyncGenerator<Uint8Array> {
    for (let piece = 0; piece < 50; piece++) yield Buffer.alloc(10_000, piece);
  }
  const content = await writer.upload(pieces(), signal);
  const read = await collect(tree.open({ path: rootPath, content }, { start: 490_000 }, signal));
  expect(read.equals(Buffer.alloc(10_000, 49))).toBe(true);
});

test.each(["SDMF", "MDMF"])("a mutable file (%s) has no content id and is read by its path", async (format) => {
  const { root, tree } = await newTree();
  const url = `${inject("webapiUrl")}/uri/${encodeURIComponent(root.reveal())}/mutable?mutable=true&format=${format}`;
  await fetch(url, { method: "PUT", body: "changes in place" });
  const path = parseTreePath("mutable");
  expect(await tree.look(path, signal)).toMatchObject({ kind: "file", content: undefined });
  const read = (start?: number, end?: number): Promise<Buffer> =>
    collect(
      tree.open({ path, content: undefined }, start === undefined ? undefined : { start, ...(end && { end }) }, signal),
    );
  expect((await read()).toString()).toBe("changes in place");
  expect((await read(8)).toString()).toBe("in place");
  expect((await read(8, 10)).toString()).toBe("in");
  expect((await read(16)).toString()).toBe("");
  expect((await read(99)).toString()).toBe("");
});

test("a tree of MDMF and immutable directories is read by their read caps", async () => {
  const base = `${inject("webapiUrl")}/uri`;
  const child = JSON.stringify({ tiny: ["filenode", { ro_uri: "URI:LIT:oruw46i" }] });
  const big = await new WebapiWriter(new Webapi(inject("webapiUrl"))).upload(Buffer.alloc(500, 9), signal);
  const both = JSON.stringify({
    tiny: ["filenode", { ro_uri: "URI:LIT:oruw46i" }],
    big: ["filenode", { ro_uri: big.reveal() }],
  });
  const make = async (query: string, body: string): Promise<string> =>
    (await fetch(`${base}?${query}`, { method: "POST", body })).text();
  const mdmf = await make("t=mkdir&format=MDMF", "");
  await fetch(`${base}/${encodeURIComponent(mdmf)}?t=set_children`, { method: "POST", body: child });
  const described = (await (await fetch(`${base}/${encodeURIComponent(mdmf)}?t=json`)).json()) as [
    string,
    { ro_uri: string },
  ];
  const caps = [described[1].ro_uri, await make("t=mkdir-immutable", child), await make("t=mkdir-immutable", both)];
  expect(caps.map((cap) => cap.split(":").slice(0, 2).join(":"))).toEqual([
    "URI:DIR2-MDMF-RO",
    "URI:DIR2-LIT",
    "URI:DIR2-CHK",
  ]);
  for (const cap of caps) {
    const tree = new WebapiTree(new Webapi(inject("webapiUrl")), parseReadCap(cap));
    expect(await tree.look(parseTreePath("tiny"), signal)).toMatchObject({
      kind: "file",
      sizeBytes: 4,
    });
    expect((await tree.look(rootPath, signal))?.kind).toBe("directory");
  }
});

test("an entry of a kind that this Tahoe does not support has the kind other, and the listing continues", async () => {
  const { root, tree } = await newTree();
  const body = JSON.stringify({
    future: ["filenode", { ro_uri: "x-tahoe-future:abc" }],
    tiny: ["filenode", { ro_uri: "URI:LIT:oruw46i" }],
  });
  await fetch(`${inject("webapiUrl")}/uri/${encodeURIComponent(root.reveal())}?t=set_children`, {
    method: "POST",
    body,
  });
  const node = await tree.look(rootPath, signal);
  if (node?.kind !== "directory") throw new Error("no directory");
  expect(node.entries.get("future")?.kind).toBe("other");
  expect(node.entries.get("tiny")?.kind).toBe("file");
  expect((await tree.look(parseTreePath("future"), signal))?.kind).toBe("other");
});

test("a directory and a file whose shares are lost are temporarily unavailable, and the error contains no cap", async () => {
  const letters = "a".repeat(26);
  const cap = `URI:DIR2-RO:${letters}:${"a".repeat(52)}`;
  const tree = new WebapiTree(new Webapi(inject("webapiUrl")), parseReadCap(cap));
  const failures = [
    await tree.look(rootPath, signal).catch((thrown: unknown) => thrown),
    await tree.look(parseTreePath("a/b"), signal).catch((thrown: unknown) => thrown),
  ];
  for (const failure of failures) {
    expect(failure).toBeInstanceOf(StorageUnavailable);
    expect(failure).toMatchObject({ transient: true });
    expect(String((failure as Error).stack)).not.toContain(letters);
  }
});

test("a cap that the gateway cannot parse is permanently unavailable", async () => {
  const tree = new WebapiTree(
    new Webapi(inject("webapiUrl")),
    parseReadCap(`URI:DIR2-RO:${"b".repeat(26)}:${"b".repeat(52)}`),
  );
  await expect(tree.look(rootPath, signal)).rejects.toMatchObject({ code: "storage/unavailable", transient: false });
});
