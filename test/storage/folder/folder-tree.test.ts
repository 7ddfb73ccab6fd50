// The folder tree with links, pipes and changing files: nothing outside is shown, no special file is opened.
import { execFileSync } from "node:child_process";
import { statSync } from "node:fs";
import { chmod, chown, link, mkdir, mkdtemp, rename, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { LimitExceeded } from "../../../src/base/errors.ts";
import { parseTreePath, rootPath } from "../../../src/base/names.ts";
import { Semaphore } from "../../../src/base/semaphore.ts";
import { defaultFolderLimits, FolderTree } from "../../../src/storage/folder/folder-tree.ts";
import { HardLinks } from "../../../src/storage/folder/hard-links.ts";
import { statsInThread, statsOf } from "../../../src/storage/folder/stats.ts";
import { ContentGone, StorageUnavailable } from "../../../src/storage/tree.ts";
import { projectRoot } from "../../support/project-files.ts";
import { collect } from "../../support/tree-contract.ts";

const { signal } = new AbortController();
const nobody = 65_534;
const path = parseTreePath;
let base: string;
let root: string;
let tree: FolderTree;

beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), "tahoe-apt-hostile-"));
  root = join(base, "root");
  await mkdir(join(root, "sub"), { recursive: true });
  await mkdir(join(base, "outside"));
  await writeFile(join(base, "outside/secret"), "not for you");
  await writeFile(join(root, "sub/file"), "inside");
  tree = new FolderTree(root);
});
afterEach(() => rm(base, { recursive: true, force: true }));

const look = (at: string): ReturnType<FolderTree["look"]> => tree.look(path(at), signal);
const read = async (at: string): Promise<string> =>
  (await collect(tree.open({ path: path(at), content: undefined }, undefined, signal))).toString();
async function kinds(at: string): Promise<Record<string, string>> {
  const node = await look(at);
  if (node?.kind !== "directory") throw new Error(`${at} is not a directory`);
  return Object.fromEntries([...node.entries].map(([name, entry]) => [name, entry.kind]));
}

test("a link within the tree is followed, a link out of it is never opened", async () => {
  await symlink("sub/file", join(root, "inner"));
  await symlink(join(root, "sub/file"), join(root, "absolute"));
  await symlink("sub", join(root, "directory"));
  await symlink("../outside/secret", join(root, "outer"));
  await symlink(join(base, "outside"), join(root, "outer-directory"));
  await symlink("nowhere", join(root, "dangling"));
  await symlink("loop", join(root, "loop"));
  expect(await kinds("")).toEqual({
    sub: "directory",
    inner: "file",
    absolute: "file",
    directory: "directory",
    outer: "other",
    "outer-directory": "other",
    dangling: "other",
    loop: "other",
  });
  expect(await read("inner")).toBe("inside");
  expect(await read("directory/file")).toBe("inside");
  for (const name of ["outer", "outer-directory", "dangling", "loop"]) expect((await look(name))?.kind).toBe("other");
  for (const at of ["outer", "outer-directory/secret", "dangling", "loop"]) {
    await expect(read(at)).rejects.toBeInstanceOf(ContentGone);
  }
  expect((await look("outer-directory/secret"))?.kind).toBe("other");
});

test("a sibling folder whose name begins like the root's is outside", async () => {
  await mkdir(join(base, "root-of-others"));
  await writeFile(join(base, "root-of-others/file"), "theirs");
  await symlink("../root-of-others/file", join(root, "near"));
  expect((await look("near"))?.kind).toBe("other");
});

test("cyclic links end: at most one link to a directory is followed in a path", async () => {
  await symlink("..", join(root, "sub/up"));
  await mkdir(join(root, "twin"));
  await symlink("../sub", join(root, "twin/to-sub"));
  await symlink("../twin", join(root, "sub/to-twin"));
  let directories = 0;
  const walk = async (at: string): Promise<void> => {
    if (++directories > 100) throw new Error("the walk does not end");
    for (const [name, kind] of Object.entries(await kinds(at))) {
      const below = at === "" ? name : `${at}/${name}`;
      expect((await look(below))?.kind).toBe(kind);
      if (kind === "directory") await walk(below);
    }
  };
  await walk("");
  expect(directories).toBeGreaterThan(4);
});

test("a directory that is replaced by a link out of the tree gives no access, even with a content id from there", async () => {
  const outside = new FolderTree(join(base, "outside"));
  const stolen = await outside.look(path("secret"), signal);
  if (stolen?.kind !== "file") throw new Error("no file");
  await rename(join(root, "sub"), join(root, "old"));
  await symlink(join(base, "outside"), join(root, "sub"));
  await writeFile(join(base, "outside/file"), "also theirs");
  const chunks = tree.open({ path: path("sub/secret"), content: stolen.content }, undefined, signal);
  await expect(collect(chunks)).rejects.toBeInstanceOf(ContentGone);
  await expect(read("sub/file")).rejects.toBeInstanceOf(ContentGone);
});

test("pipes, sockets and devices are neither listed as files nor opened, so nothing hangs", async () => {
  execFileSync("mkfifo", [join(root, "pipe")]);
  const server = createServer().listen(join(root, "socket"));
  await symlink("/dev/zero", join(root, "zero"));
  await symlink("pipe", join(root, "to-pipe"));
  expect(await kinds("")).toEqual({
    sub: "directory",
    pipe: "other",
    socket: "other",
    zero: "other",
    "to-pipe": "other",
  });
  for (const at of ["pipe", "socket", "zero", "to-pipe"]) {
    expect((await look(at))?.kind).toBe("other");
    await expect(read(at)).rejects.toBeInstanceOf(ContentGone);
  }
  server.close();
});

test("a file that replaces another of equal size and time is distinguished", async () => {
  const file = join(root, "sub/file");
  const time = new Date("2020-01-02T03:04:05Z");
  await utimes(file, time, time);
  const before = await look("sub/file");
  await writeFile(`${file}.new`, "INSIDE");
  await utimes(`${file}.new`, time, time);
  await rename(`${file}.new`, file);
  const after = await look("sub/file");
  if (before?.kind !== "file" || after?.kind !== "file") throw new Error("no file");
  expect(after).toMatchObject({
    sizeBytes: before.sizeBytes,
    linkedAtMs: time.getTime(),
    relinkedAtMs: time.getTime(),
  });
  expect(after.content?.key).not.toBe(before.content?.key);
  await expect(
    collect(tree.open({ path: path("sub/file"), content: before.content }, undefined, signal)),
  ).rejects.toBeInstanceOf(ContentGone);
});

test("a hard link elsewhere, or another mode, does not change a file's identity", async () => {
  const before = await look("sub/file");
  await link(join(root, "sub/file"), join(root, "backup"));
  await chmod(join(root, "sub/file"), 0o600);
  expect(await look("sub/file")).toEqual(before);
});

test("with hard links, a file that was opened once is readable after it was replaced or removed", async () => {
  const keeping = new HardLinks(join(root, "../kept"));
  const kept = new FolderTree(root, undefined, keeping);
  const before = await look("sub/file");
  if (before?.kind !== "file" || before.content === undefined) throw new Error("no file");
  const file = { path: path("sub/file"), content: before.content };
  expect((await collect(kept.open(file, undefined, signal))).toString()).toBe("inside");
  await writeFile(join(root, "new"), "other!");
  await rename(join(root, "new"), join(root, "sub/file"));
  expect((await collect(kept.open(file, undefined, signal))).toString()).toBe("inside");
  await rm(join(root, "sub"), { recursive: true });
  const again = new FolderTree(root, undefined, new HardLinks(join(root, "../kept")));
  expect((await collect(again.open(file, { start: 2 }, signal))).toString()).toBe("side");
  await keeping.keepOnly(new Set());
  await expect(collect(kept.open(file, undefined, signal))).rejects.toBeInstanceOf(ContentGone);
});

test("a hard link to a file that was written to is not used for its old content", async () => {
  const kept = new FolderTree(root, undefined, new HardLinks(join(root, "../kept")));
  const before = await look("sub/file");
  if (before?.kind !== "file" || before.content === undefined) throw new Error("no file");
  const file = { path: path("sub/file"), content: before.content };
  await collect(kept.open(file, undefined, signal));
  await writeFile(join(root, "sub/file"), "changed in place");
  await expect(collect(kept.open(file, undefined, signal))).rejects.toBeInstanceOf(ContentGone);
});

test("a file that is written to while it is read is reported as gone before its end", async () => {
  const file = join(root, "long");
  await writeFile(file, Buffer.alloc(1_000_000));
  const node = await look("long");
  const content = node?.kind === "file" ? node.content : undefined;
  const overwritten = async (): Promise<void> => {
    let first = true;
    for await (const _chunk of tree.open({ path: path("long"), content }, undefined, signal)) {
      if (first) await writeFile(file, Buffer.alloc(1_000_000, 1));
      first = false;
    }
  };
  await expect(overwritten()).rejects.toBeInstanceOf(ContentGone);
});

test("a missing root is unavailable, not empty, otherwise an unmounted disk would unpublish everything", async () => {
  await rm(root, { recursive: true });
  await expect(look("")).rejects.toBeInstanceOf(StorageUnavailable);
  await expect(look("sub")).rejects.toBeInstanceOf(StorageUnavailable);
  await expect(read("sub/file")).rejects.toBeInstanceOf(StorageUnavailable);
  await writeFile(root, "a file in its place");
  await expect(look("")).rejects.toBeInstanceOf(StorageUnavailable);
});

test("a root that is itself a link is followed", async () => {
  await symlink(root, join(base, "alias"));
  const through = new FolderTree(join(base, "alias"));
  expect((await through.look(rootPath, signal))?.kind).toBe("directory");
  expect((await through.look(path("sub/file"), signal))?.kind).toBe("file");
});

test("a directory with too many entries is rejected", async () => {
  for (const name of ["a", "b", "c"]) await writeFile(join(root, "sub", name), "");
  const small = new FolderTree(root, { ...defaultFolderLimits, maxEntries: 3 });
  await expect(small.look(path("sub"), signal)).rejects.toBeInstanceOf(LimitExceeded);
});

/** Enough files for a thread to be used. */
const many = 2_100;

test("a very large directory is listed like a small one, without files that are gone by then", async () => {
  const directory = join(root, "many");
  await mkdir(join(directory, "below"), { recursive: true });
  await symlink("../sub/file", join(directory, "link"));
  const names = Array.from({ length: many }, (_none, index) => `file-${index}`);
  await Promise.all(names.map((name) => writeFile(join(directory, name), name)));
  const node = await look("many");
  if (node?.kind !== "directory") throw new Error("no directory");
  expect([...node.entries.keys()].toSorted()).toEqual(["below", "link", ...names].toSorted());
  for (const name of ["link", "file-0", "file-999", "file-1000", `file-${many - 1}`]) {
    expect(node.entries.get(name)).toEqual(await look(`many/${name}`));
  }
  const asked = { directory, names: [...names, "gone", "below"] };
  const byThread = await statsInThread(asked, signal);
  expect(byThread).toEqual(
    await statsOf({ ...asked, names: names.slice(0, 10) }, new Semaphore(1), signal).then((some) => [
      ...some,
      ...byThread.slice(10),
    ]),
  );
  expect(byThread.slice(-2)).toEqual([undefined, expect.objectContaining({ isFile: false })]);
});

test.each([
  ["before it begins", 0],
  ["in its midst", 5],
])("a look at very many files ends with the reason when nobody waits for it any more, %s", async (_when, afterMs) => {
  await Promise.all(Array.from({ length: many }, (_none, index) => writeFile(join(root, "sub", `${index}`), "")));
  const controller = new AbortController();
  const looking = tree.look(path("sub"), controller.signal);
  const reason = new Error("nobody waits");
  setTimeout(() => controller.abort(reason), afterMs);
  await expect(looking).rejects.toBe(reason);
});

test("files without permission are permanently unavailable, and their neighbours are still listed", async () => {
  await chmod(base, 0o755);
  const isRoot = process.getuid?.() === 0;
  await mkdir(join(root, "closed"), { mode: 0o700 });
  for (const [name, count] of [
    ["few", 1],
    ["many", many],
  ] as const) {
    await mkdir(join(root, name));
    await Promise.all(Array.from({ length: count }, (_none, index) => writeFile(join(root, name, `${index}`), "")));
    // Others than the owner can read the names, but not stat the files.
    await chmod(join(root, name), 0o744);
  }
  if (isRoot) for (const name of ["closed", "few", "many"]) await chown(join(root, name), nobody, nobody);
  const program = `
    import { FolderTree } from ${JSON.stringify(new URL("../../../dist/storage/folder/folder-tree.js", import.meta.url))};
    const tree = new FolderTree(process.argv[1]);
    const { signal } = new AbortController();
    const seen = [];
    for (const path of ["", "sub", "few", "many", "closed", "closed/x"]) {
      seen.push(await tree.look(path, signal).then((node) => node?.kind ?? "nothing", (error) => [error.code, error.transient]));
    }
    console.log(JSON.stringify(seen));`;
  // Root can read everything because of its capabilities. Without these, the owner of the checkout is used: others may be unable
  // to read the program there.
  const { uid, gid } = statSync(projectRoot);
  const asOwner = [`--reuid=${uid}`, `--regid=${gid}`, "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"];
  const [command, ...args] = [...(isRoot ? ["setpriv", ...asOwner] : []), process.execPath];
  const output = execFileSync(command ?? "", [...args, "--input-type=module", "-e", program, root], {
    encoding: "utf8",
  });
  expect(JSON.parse(output)).toEqual([
    "directory",
    "directory",
    ...(isRoot
      ? Array.from({ length: 4 }, () => ["storage/unavailable", false])
      : ["directory", "directory", "directory", "nothing"]),
  ]);
});
