// The tree owner's files stay consistent under concurrent changes.
import { readFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parse as parseToml } from "smol-toml";
import { expect, test } from "vitest";
import type { Suite } from "../../../src/base/names.ts";
import { parseRepositoryName, parseSuite, parseTreePath } from "../../../src/base/names.ts";
import { OwnerFiles } from "../../../src/commands/shared/owner-files.ts";
import { loadConfiguration } from "../../../src/config/load-config.ts";
import { ReadCap, WriteCap } from "../../../src/storage/tahoe/caps.ts";
import { temporaryDirectory } from "../../support/temporary-directory.ts";

const cap = new WriteCap(`URI:DIR2:${"a".repeat(26)}:${"b".repeat(52)}`);
const settings = {
  name: parseRepositoryName("debian"),
  gateways: ["http://127.0.0.1:1"],
  listen: "127.0.0.1:8380",
  publicUrl: undefined,
};

async function aTree() {
  const directory = temporaryDirectory("owner-files");
  const files = () => new OwnerFiles(directory, () => {});
  return { directory, files, master: await files().openMaster(settings, async () => cap) };
}

test("builders added concurrently are all stored, each with all of its directories", async () => {
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

test("a suite with a slash is in the configuration and in the bundles of its builders, even if added later", async () => {
  const { directory, files } = await aTree();
  const [updates, backports] = ["bookworm/updates", "bookworm/backports"].map(parseSuite) as [Suite, Suite];
  const readCap = new ReadCap(`URI:DIR2-RO:${"a".repeat(26)}:${"b".repeat(52)}`);
  await files().writeServerFiles({ ...settings, suitesWithSlash: [updates] }, readCap);
  expect(loadConfiguration({ config: join(directory, "tahoe-apt.toml") }).repositories[0]?.suites).toEqual(
    new Map([[updates, {}]]),
  );
  const suitesOf = async (name: string) => (await files().builders()).get(name)?.suitesWithSlash;
  const add = async (name: string, suite: string) => {
    const path = parseTreePath(`dists/${suite}/main/binary-amd64/${name}`);
    await files().writeBuilder(name, await files().master(), [{ path, cap }]);
  };
  await add("alice", updates);
  expect(await suitesOf("alice")).toBeUndefined();
  await Promise.all([files().addSuitesWithSlash([updates]), files().addSuitesWithSlash([backports, updates])]);
  for (const suite of ["bookworm", updates]) await add("alice", suite);
  await add("bob", "bookworm");
  expect(new Set((await files().master()).suitesWithSlash)).toEqual(new Set([updates, backports]));
  expect([await suitesOf("alice"), await suitesOf("bob")]).toEqual([[updates], undefined]);
});

test("removing a builder and adding another one concurrently takes effect for both", async () => {
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

test("concurrent calls create only one tree, and lock files are not listed as secrets", async () => {
  const directory = temporaryDirectory("owner-files");
  let created = 0;
  const makeRoot = async () => {
    created += 1;
    return cap;
  };
  const open = () => new OwnerFiles(directory, () => {}).openMaster(settings, makeRoot);
  await Promise.all([open(), open(), open()]);
  expect(created).toBe(1);
  const secrets = await new OwnerFiles(directory, () => {}).secrets();
  expect(secrets.filter((file) => /lock|unfinished/.test(file))).toEqual([]);
});

test("a builder's packages are in builders.toml for each directory, and are kept when other builders change", async () => {
  const { directory, files, master } = await aTree();
  const at = (name: string, index: string) => [{ path: parseTreePath(`dists/sid/main/${index}/${name}`), cap }];
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

test("a moved name is only in its new owner's list", async () => {
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

test("an invalid builders.toml is not changed, so that no list is lost", async () => {
  const { directory, files, master } = await aTree();
  await writeFile(join(directory, "builders.toml"), '[[builder]]\nname = "alice"\npackages = "hello"\n');
  const path = parseTreePath("dists/sid/main/binary-amd64/bob");
  await expect(files().writeBuilder("bob", master, [{ path, cap }])).rejects.toThrow("builders.toml");
  expect(await readFile(join(directory, "builders.toml"), "utf8")).toContain("alice");
});

test("the error for an invalid builders.toml names the mistake, and the file is not changed", async () => {
  const { directory, files, master } = await aTree();
  const broken = '[[builder]]\nnamee = "alice"\n';
  await writeFile(join(directory, "builders.toml"), broken);
  const path = parseTreePath("dists/sid/main/binary-amd64/bob");
  await expect(files().writeBuilder("bob", master, [{ path, cap }])).rejects.toMatchObject({
    mistakes: [expect.stringMatching(/builders\.toml: builder\.0\.name: is missing$/)],
  });
  expect(await readFile(join(directory, "builders.toml"), "utf8")).toBe(broken);
});
