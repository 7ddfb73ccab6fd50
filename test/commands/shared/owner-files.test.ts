// The owner's files stay whole whatever is done at the same time.
import { readFileSync } from "node:fs";
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse as parseToml } from "smol-toml";
import { expect, test } from "vitest";
import type { Suite } from "../../../src/base/names.ts";
import { parseRepositoryName, parseSuite, parseTreePath } from "../../../src/base/names.ts";
import { OwnerFiles } from "../../../src/commands/shared/owner-files.ts";
import { loadConfiguration } from "../../../src/config/load-config.ts";
import { ReadCap, WriteCap } from "../../../src/storage/tahoe/caps.ts";

const cap = new WriteCap(`URI:DIR2:${"a".repeat(26)}:${"b".repeat(52)}`);
const settings = {
  name: parseRepositoryName("debian"),
  gateways: ["http://127.0.0.1:1"],
  listen: "127.0.0.1:8380",
  publicUrl: undefined,
};

async function aTree() {
  const directory = await mkdtemp(join(tmpdir(), "owner-files-"));
  const files = () => new OwnerFiles(directory, () => {});
  return { directory, files, master: await files().openMaster(settings, async () => cap) };
}

test("builders who are added at once are all known, each with all of its directories", async () => {
  const { directory, files, master } = await aTree();
  const adds = ["alice", "bob", "carol"].flatMap((name) =>
    ["sid", "trixie"].map((suite) => ({ name, path: parseTreePath(`dists/${suite}/main/binary-amd64/${name}`) })),
  );
  await Promise.all(adds.map(({ name, path }) => files().writeBuilder(name, master, [{ path, cap }])));
  const text = await readFile(join(directory, "builders.toml"), "utf8");
  for (const { path } of adds) expect(text).toContain(path);
  for (const [name, { directories, ping }] of await files().builders()) {
    expect(directories.map(({ path }) => path).toSorted()).toEqual(
      adds.filter((one) => one.name === name).map(({ path }) => path),
    );
    const token = (await readFile(join(directory, "builders", `${name}.token`), "utf8")).trim();
    expect(ping?.token.reveal()).toBe(token);
  }
});

test("a suite with a slash is in the configuration and in the bundles of those who have a directory in it, also where it came later", async () => {
  const { directory, files } = await aTree();
  const [updates, backports] = ["bookworm/updates", "bookworm/backports"].map(parseSuite) as [Suite, Suite];
  const readCap = new ReadCap(`URI:DIR2-RO:${"a".repeat(26)}:${"b".repeat(52)}`);
  await files().writeServerFiles({ ...settings, suitesWithSlash: [updates] }, readCap);
  expect(loadConfiguration({ config: join(directory, "tahoe-apt.toml") }).repositories[0]?.suites).toEqual(
    new Map([[updates, {}]]),
  );
  const knownTo = async (name: string) => (await files().builders()).get(name)?.suitesWithSlash;
  const add = async (name: string, suite: string) => {
    const path = parseTreePath(`dists/${suite}/main/binary-amd64/${name}`);
    await files().writeBuilder(name, await files().master(), [{ path, cap }]);
  };
  await add("alice", updates);
  expect(await knownTo("alice")).toBeUndefined();
  await Promise.all([files().addSuitesWithSlash([updates]), files().addSuitesWithSlash([backports, updates])]);
  for (const suite of ["bookworm", updates]) await add("alice", suite);
  await add("bob", "bookworm");
  expect(new Set((await files().master()).suitesWithSlash)).toEqual(new Set([updates, backports]));
  expect([await knownTo("alice"), await knownTo("bob")]).toEqual([[updates], undefined]);
});

test("a builder who goes while another comes is gone, and the other one is there", async () => {
  const { directory, files, master } = await aTree();
  const path = (name: string) => parseTreePath(`dists/sid/main/binary-amd64/${name}`);
  await files().writeBuilder("alice", master, [{ path: path("alice"), cap }]);
  await Promise.all([
    files().forgetBuilder("alice"),
    files().writeBuilder("bob", master, [{ path: path("bob"), cap }]),
  ]);
  const text = await readFile(join(directory, "builders.toml"), "utf8");
  expect(text).toContain("bob");
  expect(text).not.toContain("alice");
});

test("a tree that is made twice at once is made once, and locks are no secrets", async () => {
  const directory = await mkdtemp(join(tmpdir(), "owner-files-"));
  let made = 0;
  const makeRoot = async () => {
    made += 1;
    return cap;
  };
  const open = () => new OwnerFiles(directory, () => {}).openMaster(settings, makeRoot);
  await Promise.all([open(), open(), open()]);
  expect(made).toBe(1);
  const secrets = await new OwnerFiles(directory, () => {}).secrets();
  expect(secrets.filter((file) => /lock|unfinished/.test(file))).toEqual([]);
});

test("a builder's names stand in builders.toml for each of its directories, and stay when others come and go", async () => {
  const { directory, files, master } = await aTree();
  const at = (name: string, place: string) => [{ path: parseTreePath(`dists/sid/main/${place}/${name}`), cap }];
  const read = () => parseToml(readFileSync(join(directory, "builders.toml"), "utf8"));
  await files().writeBuilder("alice", master, at("alice", "binary-amd64"), ["hello", "libhello*"]);
  await files().writeBuilder("bob", master, at("bob", "binary-amd64"));
  await files().writeBuilder("alice", master, at("alice", "source"));
  const alice = { name: "alice", token_file: "builders/alice.token", packages: ["hello", "libhello*"] };
  const bob = { name: "bob", token_file: "builders/bob.token", directory: "dists/sid/main/binary-amd64/bob" };
  expect(read()).toEqual({
    builder: [
      { ...alice, directory: "dists/sid/main/binary-amd64/alice" },
      { ...alice, directory: "dists/sid/main/source/alice" },
      bob,
    ],
  });
  await files().writeBuilder("alice", master, at("alice", "source"), ["other"]);
  expect(JSON.stringify(read())).not.toContain("libhello");
  await files().forgetBuilder("alice");
  expect(read()).toEqual({ builder: [bob] });
});

test("a name that is moved is in its new owner's list and in no other", async () => {
  const { directory, files, master } = await aTree();
  const at = (name: string) => [{ path: parseTreePath(`dists/sid/main/binary-amd64/${name}`), cap }];
  await files().writeBuilder("alice", master, at("alice"), ["hello", "libhello*"]);
  await files().writeBuilder("bob", master, at("bob"));
  expect(await files().movePackage("hello", "carol")).toBeUndefined();
  const moves = ["hello", "libhello1", "third"].map(async (name) => await files().movePackage(name, "bob"));
  await Promise.all(moves);
  const { builder } = parseToml(readFileSync(join(directory, "builders.toml"), "utf8"));
  const lists = (builder as { name: string; packages: string[] }[]).map(({ name, packages }) => [
    name,
    packages.toSorted(),
  ]);
  expect(lists).toEqual([
    ["alice", ["!libhello1", "libhello*"]],
    ["bob", ["*", "hello", "libhello1", "third"]],
  ]);
});

test("builders.toml that was spoilt by hand is left alone, so that no list is lost", async () => {
  const { directory, files, master } = await aTree();
  await writeFile(join(directory, "builders.toml"), '[[builder]]\nname = "alice"\npackages = "hello"\n');
  const path = parseTreePath("dists/sid/main/binary-amd64/bob");
  await expect(files().writeBuilder("bob", master, [{ path, cap }])).rejects.toThrow("builders.toml");
  expect(await readFile(join(directory, "builders.toml"), "utf8")).toContain("alice");
});

test("a builders.toml that somebody has broken is left as it is, with what is wrong in it", async () => {
  const { directory, files, master } = await aTree();
  const broken = '[[builder]]\nnamee = "alice"\n';
  await writeFile(join(directory, "builders.toml"), broken);
  const path = parseTreePath("dists/sid/main/binary-amd64/bob");
  await expect(files().writeBuilder("bob", master, [{ path, cap }])).rejects.toMatchObject({
    mistakes: [expect.stringMatching(/builders\.toml: builder\.0\.name: is missing$/)],
  });
  expect(await readFile(join(directory, "builders.toml"), "utf8")).toBe(broken);
});
