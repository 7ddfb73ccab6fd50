// Local files that a worker reads: only the inode that was listed, and nothing outside of the tree.
import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { parseTreePath } from "../../src/base/names.ts";
import { FolderTree } from "../../src/storage/folder/folder-tree.ts";
import { HardLinks } from "../../src/storage/folder/hard-links.ts";
import type { LocalFileLocation } from "../../src/storage/local-file.ts";
import { fileIdentityOf, maxLocalBytes, readLocalFile } from "../../src/storage/local-file.ts";
import { collect } from "../support/tree-contract.ts";

const { signal } = new AbortController();
let base: string;
let root: string;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "tahoe-apt-local-"));
  root = join(base, "root");
  mkdirSync(join(root, "sub"), { recursive: true });
  mkdirSync(join(base, "outside"));
  writeFileSync(join(base, "outside/file"), "outside");
  writeFileSync(join(root, "sub/file"), "inside");
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

/** The location that the folder tree returns after a look. */
async function locationOf(at: string, tree = new FolderTree(root)): Promise<LocalFileLocation> {
  const path = parseTreePath(at);
  const node = await tree.look(path, signal);
  const local = tree.localFile({ path, content: node?.kind === "file" ? node.content : undefined });
  if (local === undefined) throw new Error(`${at} is not told as a file of this machine`);
  return local.location;
}

const text = (location: LocalFileLocation): string | undefined => {
  const bytes = readLocalFile(location);
  return bytes && Buffer.from(bytes).toString();
};
const openDescriptors = (): number => readdirSync("/proc/self/fd").length;

test("a file is read as it was listed, also through a link within the tree", async () => {
  symlinkSync("sub", join(root, "linked"));
  expect(text(await locationOf("sub/file"))).toBe("inside");
  expect(text(await locationOf("linked/file"))).toBe("inside");
});

test("a directory that is replaced by a link out of the tree gives no access, even to a file that is there", async () => {
  const location = await locationOf("sub/file");
  renameSync(join(root, "sub"), join(root, "old"));
  symlinkSync(join(base, "outside"), join(root, "sub"));
  expect(text(location)).toBeUndefined();
  const stolen = fileIdentityOf(statSync(join(base, "outside/file"), { bigint: true }));
  expect(text({ ...location, fileIdentity: stolen })).toBeUndefined();
  expect(text({ ...location, fileIdentity: stolen, root: base })).toBe("outside");
});

test("a file of equal size and time that replaces it is not read, nor one that was overwritten", async () => {
  const file = join(root, "sub/file");
  const time = new Date("2020-01-02T03:04:05Z");
  utimesSync(file, time, time);
  const location = await locationOf("sub/file");
  writeFileSync(`${file}.new`, "INSIDE");
  utimesSync(`${file}.new`, time, time);
  renameSync(`${file}.new`, file);
  expect(text(location)).toBeUndefined();
  const second = await locationOf("sub/file");
  writeFileSync(file, "longer than before");
  expect(text(second)).toBeUndefined();
});

test("a pipe that replaces a file is not opened, so nothing hangs", async () => {
  const location = await locationOf("sub/file");
  rmSync(join(root, "sub/file"));
  execFileSync("mkfifo", [join(root, "sub/file")]);
  expect(text(location)).toBeUndefined();
  expect(
    text({ ...location, fileIdentity: fileIdentityOf(statSync(location.path, { bigint: true })) }),
  ).toBeUndefined();
});

test("files that are too large or gone are left to the tree, and no descriptor stays open", async () => {
  writeFileSync(join(root, "most"), Buffer.alloc(maxLocalBytes));
  writeFileSync(join(root, "more"), Buffer.alloc(maxLocalBytes + 1));
  const before = openDescriptors();
  expect(readLocalFile(await locationOf("most"))).toHaveLength(maxLocalBytes);
  expect(readLocalFile(await locationOf("more"))).toBeUndefined();
  const location = await locationOf("sub/file");
  rmSync(join(root, "sub"), { recursive: true });
  for (let time = 0; time < 20; time++) expect(text(location)).toBeUndefined();
  expect(openDescriptors()).toBe(before);
});

test("whichever regular file is there is read if none is expected, but no link out of the tree and no pipe", () => {
  const location = { root, path: join(root, "sub/file"), fileIdentity: undefined, hardLinkPath: undefined };
  expect(text(location)).toBe("inside");
  rmSync(location.path);
  expect(text(location)).toBeUndefined();
  symlinkSync(join(base, "outside/file"), location.path);
  expect(text(location)).toBeUndefined();
  expect(text({ ...location, root: base })).toBe("outside");
  rmSync(location.path);
  execFileSync("mkfifo", [location.path]);
  expect(text(location)).toBeUndefined();
});

test("a copy has the bytes that were read, for everyone to read, and replaces no file", async () => {
  const copyPath = join(base, "copy");
  const location = { ...(await locationOf("sub/file")), copyPath };
  const umask = process.umask(0o077);
  try {
    expect(text(location)).toBe("inside");
  } finally {
    process.umask(umask);
  }
  expect(readFileSync(copyPath, "utf8")).toBe("inside");
  expect(statSync(copyPath).mode & 0o777).toBe(0o644);
  writeFileSync(copyPath, "another");
  expect(text(location)).toBeUndefined();
  expect(readFileSync(copyPath, "utf8")).toBe("another");
  rmSync(copyPath);
  symlinkSync(join(base, "outside/file"), copyPath);
  expect(text(location)).toBeUndefined();
  expect(readFileSync(join(base, "outside/file"), "utf8")).toBe("outside");
  rmSync(copyPath);
  expect(text({ ...location, path: join(base, "outside/file") })).toBeUndefined();
  expect(existsSync(copyPath)).toBe(false);
});

test("a file that was read so has a hard link, and can be opened after it was deleted", async () => {
  const tree = new FolderTree(root, undefined, new HardLinks(join(base, "kept")));
  const path = parseTreePath("sub/file");
  const node = await tree.look(path, signal);
  const content = node?.kind === "file" ? node.content : undefined;
  const location = await locationOf("sub/file", tree);
  expect(existsSync(location.hardLinkPath ?? "")).toBe(false);
  expect(text(location)).toBe("inside");
  rmSync(join(root, "sub"), { recursive: true });
  expect((await collect(tree.open({ path, content }, undefined, signal))).toString()).toBe("inside");
});
