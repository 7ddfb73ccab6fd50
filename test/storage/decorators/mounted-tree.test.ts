// Several trees, each shown at its mount point, and nothing else.
import { randomBytes } from "node:crypto";
import { expect, onTestFinished, test } from "vitest";
import { parseTreePath, rootPath } from "../../../src/base/names.ts";
import type { Mount } from "../../../src/storage/decorators/mounted-tree.ts";
import { MountedTree } from "../../../src/storage/decorators/mounted-tree.ts";
import { ContentGone } from "../../../src/storage/tree.ts";
import { folderSubject } from "../../support/folder-subject.ts";
import { collect } from "../../support/tree-contract.ts";

const { signal } = new AbortController();
const path = parseTreePath;

/** A directory with one file, at a mount point. */
async function aMount(at: string, file: string, bytes: Uint8Array): Promise<Mount> {
  const subject = await folderSubject();
  onTestFinished(() => subject.end());
  await subject.put(file, bytes);
  return { at: path(at), tree: subject.tree };
}

test("directories above mount points can be listed, and contain nothing else", async () => {
  const bytes = randomBytes(100);
  const tree = new MountedTree([
    await aMount("dists/sid/main/binary-amd64/alice", "deep/x.deb", bytes),
    await aMount("dists/sid/main/source/alice", "x.dsc", bytes),
    await aMount("dists/trixie/main/source/alice", "y.dsc", bytes),
  ]);
  const names = async (at: string) => {
    const node = await tree.look(path(at), signal);
    return node?.kind === "directory" ? [...node.entries.keys()].toSorted() : node;
  };
  expect(await names("")).toEqual(["dists"]);
  expect(await names("dists")).toEqual(["sid", "trixie"]);
  expect(await names("dists/sid/main")).toEqual(["binary-amd64", "source"]);
  expect(await names("dists/sid/main/binary-amd64/alice")).toEqual(["deep"]);
  expect(await names("dists/sid/main/binary-amd64/bob")).toBeUndefined();
  expect(await names("dists/sid/main/binary-amd64/alices")).toBeUndefined();

  const file = { path: path("dists/sid/main/binary-amd64/alice/deep/x.deb"), content: undefined };
  expect(await collect(tree.open(file, undefined, signal))).toEqual(bytes);
  const outside = { path: path("dists/sid/x.deb"), content: undefined };
  await expect(collect(tree.open(outside, undefined, signal))).rejects.toThrow(ContentGone);
  expect((await tree.look(rootPath, signal))?.kind).toBe("directory");
});
