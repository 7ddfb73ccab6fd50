// Package names have owners: a builder publishes only its own names, and no other builder can replace its packages.
import { expect, test } from "vitest";
import { parseTreePath } from "../../../src/base/names.ts";
import type { OwnerPolicy, OwnerRules } from "../../../src/catalog/suite/owner-rules.ts";
import { aDeb } from "../../support/debs.ts";
import { packageNames as packageNamesIn, ServedFolder } from "../../support/served-folder.ts";

const amd64 = "dists/sid/main/binary-amd64";
const arm64 = "dists/sid/main/binary-arm64";
const startMs = 1_750_000_000_000;
const minuteMs = 60_000;
/** A link time in seconds, before the tests begin. */
const linked = (minutes: number): number => 1_749_000_000 + minutes * 60;

type Lists = Readonly<Record<string, readonly string[] | undefined>>;

/** Builders with a directory in each package directory, as `builder add` creates them. */
function rulesOf(lists: Lists, policy: OwnerPolicy = "any", reserved: readonly string[] = []): OwnerRules {
  const builders = Object.entries(lists).flatMap(([name, packages]) =>
    [amd64, arm64, "dists/sid/main/source"].map((place) => ({
      name,
      directory: parseTreePath(`${place}/${name}`),
      packages,
    })),
  );
  return { policy, builders, reserved };
}

/** A served folder whose rules and clock can be changed. */
function served(rules: OwnerRules | undefined) {
  const state = { rules, nowMs: startMs };
  const folder = new ServedFolder({ ownerRules: () => state.rules, now: () => state.nowMs });
  const rejected = () =>
    folder.repository.status().rejected.map(({ path, code, reason }) => `${path} ${code}: ${reason}`);
  return { state, folder, rejected };
}

const packageNames = async (folder: ServedFolder) => (await packageNamesIn(folder)).toSorted();

const deb = (name: string, version = "1", fields: Record<string, string> = {}) =>
  aDeb({ package: name, version, architecture: "amd64", fields });

test("a package name from another builder's list is rejected, and the reason names the owner and the command to move it", async () => {
  const { folder, rejected } = served(rulesOf({ alice: ["hello", "libhello*"], bob: undefined }));
  folder.put(`${amd64}/alice/hello_1.deb`, await deb("hello", "1"));
  await folder.ping();
  folder.put(`${amd64}/bob/hello_2.deb`, await deb("hello", "2"));
  folder.put(`${amd64}/bob/world_1.deb`, await deb("world"));
  const outcome = await folder.ping(`${amd64}/bob`);
  expect(await packageNames(folder)).toEqual(["hello 1", "world 1"]);
  expect(rejected()).toEqual([
    `${amd64}/bob/hello_2.deb not-owner: hello belongs to alice; the operator can give it to bob by: ` +
      "tahoe-apt owner move hello bob",
  ]);
  expect(outcome.rejected.map(({ code }) => code)).toEqual(["not-owner"]);
});

test("a builder with a list publishes only the names in it, in all of its directories", async () => {
  const { folder, rejected } = served(rulesOf({ alice: ["hello", "libhello*"] }));
  folder.put(`${amd64}/alice/hello.deb`, await deb("hello"));
  folder.put(`${amd64}/alice/deeper/libhello1.deb`, await deb("libhello1"));
  folder.put(`${arm64}/alice/hello.deb`, await aDeb({ package: "hello", version: "1", architecture: "arm64" }));
  folder.put(`${amd64}/alice/apt.deb`, await deb("apt", "99"));
  await folder.ping();
  expect(await packageNames(folder)).toEqual(["hello 1", "libhello1 1"]);
  expect(await folder.text(`${arm64}/Packages`)).toContain("Package: hello");
  expect(rejected()).toEqual([
    expect.stringContaining(
      `${amd64}/alice/apt.deb not-owner: apt is not among the packages of alice (hello, libhello*)`,
    ),
  ]);
});

test("a binary package belongs to the owner of its source, unless another builder owns its name", async () => {
  const { folder, rejected } = served(rulesOf({ alice: ["hello"], bob: undefined }));
  folder.put(`${amd64}/alice/hello-doc.deb`, await deb("hello-doc", "1", { Source: "hello" }));
  await folder.ping();
  expect(await packageNames(folder)).toEqual(["hello-doc 1"]);
  // A false Source field does not take over another builder's package, whichever was linked first.
  folder.put(`${amd64}/alice/apt.deb`, await deb("apt", "99", { Source: "hello" }));
  await folder.ping();
  expect(await packageNames(folder)).toEqual(["apt 99", "hello-doc 1"]);
  folder.put(`${amd64}/bob/apt.deb`, await deb("apt", "2"));
  await folder.ping(`${amd64}/bob`);
  expect(await packageNames(folder)).toEqual(["apt 2", "hello-doc 1"]);
  expect(rejected()).toEqual([
    expect.stringContaining(
      `${amd64}/alice/apt.deb not-owner: apt is published by bob (${amd64}/bob/apt.deb), and alice has it only as built from hello`,
    ),
  ]);
  folder.remove(`${amd64}/bob/apt.deb`);
  await folder.ping(`${amd64}/bob`);
  expect(await packageNames(folder)).toEqual(["apt 99", "hello-doc 1"]);
});

test.each([
  ["another builder's list contains its name", { alice: ["hello"], bob: ["apt"] }],
  ["its builder's list excludes it", { alice: ["hello", "!apt"] }],
])("a binary package does not belong to the owner of its source if %s", async (_, lists) => {
  const { folder, rejected } = served(rulesOf(lists));
  folder.put(`${amd64}/alice/apt.deb`, await deb("apt", "99", { Source: "hello" }));
  folder.put(`${amd64}/alice/hello.deb`, await deb("hello"));
  await folder.ping();
  expect(await packageNames(folder)).toEqual(["hello 1"]);
  expect(rejected()).toEqual([expect.stringContaining("not-owner")]);
});

test("a builder cannot publish binary packages of another builder's source package", async () => {
  const { folder, rejected } = served(rulesOf({ alice: ["hello"], bob: undefined, carol: ["hello-doc"] }));
  folder.put(`${amd64}/bob/hello-dev.deb`, await deb("hello-dev", "1", { Source: "hello" }));
  // A list that contains the name of the binary package allows it.
  folder.put(`${amd64}/carol/hello-doc.deb`, await deb("hello-doc", "1", { Source: "hello (1)" }));
  await folder.ping();
  expect(await packageNames(folder)).toEqual(["hello-doc 1"]);
  expect(rejected()).toEqual([expect.stringContaining("hello-dev is built from hello, which belongs to alice")]);
});

test("builders whose lists contain the same name share it, and `*` allows every name without an owner", async () => {
  const { folder, rejected } = served(rulesOf({ alice: ["hello*"], bob: ["*", "hello", "!bash"], carol: ["*"] }));
  folder.put(`${amd64}/alice/hello.deb`, await deb("hello", "1"));
  folder.put(`${amd64}/bob/hello.deb`, await deb("hello", "2"));
  folder.put(`${amd64}/bob/other.deb`, await deb("other"));
  folder.put(`${amd64}/bob/bash.deb`, await deb("bash"));
  folder.put(`${amd64}/carol/other.deb`, await deb("other", "2"));
  folder.put(`${amd64}/carol/hello.deb`, await deb("hello", "3"));
  await folder.ping();
  expect(await packageNames(folder)).toEqual(["hello 1", "hello 2", "other 1", "other 2"]);
  expect(rejected()).toEqual([
    expect.stringContaining("bash is not among the packages of bob (*, hello, !bash)"),
    expect.stringContaining("hello belongs to alice and bob"),
  ]);
});

test("files directly in a package directory, which only the operator can add, may have any name", async () => {
  const { folder, rejected } = served(rulesOf({ alice: ["hello"] }));
  folder.put(`${amd64}/hello.deb`, await deb("hello", "2"));
  folder.put(`${amd64}/alice/hello.deb`, await deb("hello", "1"));
  await folder.ping();
  expect(await packageNames(folder)).toEqual(["hello 1", "hello 2"]);
  expect(rejected()).toEqual([]);
});

test("the name of the keyring package is reserved for the server", async () => {
  const { folder, rejected } = served(rulesOf({ bob: undefined }, "any", ["debian-archive-keyring"]));
  folder.put(`${amd64}/bob/k.deb`, await deb("debian-archive-keyring", "9999"));
  folder.put(`${amd64}/debian-archive-keyring.deb`, await deb("debian-archive-keyring", "1"));
  await folder.ping();
  expect(await packageNames(folder)).toEqual(["debian-archive-keyring 1"]);
  expect(rejected()).toEqual([expect.stringContaining("the server makes this package itself (archive_keyring)")]);
});

test("changed lists take effect at the next refresh, also for published packages, without reading a file again", async () => {
  const { state, folder, rejected } = served(undefined);
  folder.put(`${amd64}/alice/hello.deb`, await deb("hello", "1"));
  folder.put(`${amd64}/bob/hello.deb`, await deb("hello", "2"));
  await folder.ping();
  expect(await packageNames(folder)).toEqual(["hello 1", "hello 2"]);
  const seen: unknown[] = [];
  for (const lists of [{ alice: ["hello"] }, { bob: ["hello"] }, { alice: ["hello"], bob: ["hello"] }, undefined]) {
    state.rules = lists && rulesOf(lists);
    await folder.ping(`${amd64}/alice`);
    seen.push([await packageNames(folder), rejected().length]);
  }
  expect(seen).toEqual([
    [["hello 1"], 1],
    [["hello 2"], 1],
    [["hello 1", "hello 2"], 0],
    [["hello 1", "hello 2"], 0],
  ]);
});

test("if only listed names are allowed, every other name is rejected, also if its source is listed", async () => {
  const { folder, rejected } = served(rulesOf({ alice: ["hello"], bob: undefined }, "listed"));
  folder.put(`${amd64}/alice/hello.deb`, await deb("hello"));
  folder.put(`${amd64}/alice/bash.deb`, await deb("bash", "99", { Source: "hello" }));
  folder.put(`${amd64}/bob/other.deb`, await deb("other"));
  folder.put(`${amd64}/tool.deb`, await deb("tool"));
  await folder.ping();
  expect(await packageNames(folder)).toEqual(["hello 1", "tool 1"]);
  expect(rejected()).toEqual([
    expect.stringContaining('bash is in no builder\'s packages, and package_owners is "listed"'),
    expect.stringContaining("other is in no builder's packages"),
  ]);
});

test("by default every builder may publish any name", async () => {
  const { folder, rejected } = served(rulesOf({ alice: undefined, bob: undefined }));
  folder.put(`${amd64}/alice/hello.deb`, await deb("hello", "1"));
  folder.put(`${amd64}/bob/hello.deb`, await deb("hello", "2"));
  await folder.ping();
  expect(await packageNames(folder)).toEqual(["hello 1", "hello 2"]);
  expect(rejected()).toEqual([]);
});

test("the first directory that links a name owns it: the name is rejected in other directories of the same suite", async () => {
  const { folder, rejected } = served(rulesOf({}, "first"));
  folder.put(`${amd64}/alice/hello_1.deb`, await deb("hello", "1"), linked(1));
  folder.put(`${amd64}/bob/hello_2.deb`, await deb("hello", "2"), linked(2));
  folder.put(`${amd64}/hello_3.deb`, await deb("hello", "3"), linked(3));
  folder.put("dists/trixie/main/binary-amd64/bob/hello_2.deb", await deb("hello", "2"), linked(2));
  await folder.ping();
  expect(await packageNames(folder)).toEqual(["hello 1"]);
  expect(await folder.text("dists/trixie/main/binary-amd64/Packages")).toContain("Version: 2");
  expect(rejected()).toEqual([
    `${amd64}/bob/hello_2.deb not-owner: hello belongs to alice, who linked it first (${amd64}/alice/hello_1.deb); ` +
      "the operator can give it to bob by: tahoe-apt owner move hello bob",
    `${amd64}/hello_3.deb not-owner: hello belongs to alice, who linked it first (${amd64}/alice/hello_1.deb); ` +
      "it may be published from a directory of that builder",
  ]);
});

test("the directories of the first builder for several architectures do not reject each other", async () => {
  const { folder, rejected } = served(rulesOf({ alice: undefined }, "first"));
  folder.put(`${amd64}/alice/hello.deb`, await deb("hello"), linked(1));
  folder.put(
    `${arm64}/alice/hello.deb`,
    await aDeb({ package: "hello", version: "1", architecture: "arm64" }),
    linked(2),
  );
  await folder.ping();
  expect(rejected()).toEqual([]);
});

test("an upgrade and the removal of the old version do not give a name to a builder with a rejected package", async () => {
  const { state, folder, rejected } = served(rulesOf({}, "first"));
  folder.put(`${amd64}/alice/hello_1.deb`, await deb("hello", "1"), linked(1));
  folder.put(`${amd64}/bob/hello_9.deb`, await deb("hello", "9"), linked(2));
  await folder.ping();
  state.nowMs += 60 * minuteMs;
  folder.put(`${amd64}/alice/hello_2.deb`, await deb("hello", "2"), linked(3));
  await folder.ping();
  folder.remove(`${amd64}/alice/hello_1.deb`);
  await folder.ping();
  expect(await packageNames(folder)).toEqual(["hello 2"]);
  // A restart does not either, although the oldest link in the tree is now bob's.
  await folder.restart();
  await folder.ping();
  expect(await packageNames(folder)).toEqual(["hello 2"]);
  expect(rejected()).toHaveLength(1);
});

test("a name is free when the last package of its owner is removed", async () => {
  const { state, folder, rejected } = served(rulesOf({}, "first"));
  folder.put(`${amd64}/alice/hello_1.deb`, await deb("hello", "1"), linked(1));
  folder.put(`${amd64}/bob/hello_9.deb`, await deb("hello", "9"), linked(2));
  await folder.ping();
  folder.remove(`${amd64}/alice/hello_1.deb`);
  await folder.ping();
  expect(await packageNames(folder)).toEqual(["hello 9"]);
  state.nowMs += 60 * minuteMs;
  folder.put(`${amd64}/alice/hello_1.deb`, await deb("hello", "1"), linked(1));
  await folder.ping();
  expect(await packageNames(folder)).toEqual(["hello 9"]);
  expect(rejected()).toEqual([expect.stringContaining("hello belongs to bob")]);
});

test.each([
  ["in the past", linked(-100_000)],
  ["in the future", startMs / 1000 + 10_000_000],
])("a link time %s does not take a name from its established owner", async (_, forged) => {
  const { state, folder } = served(rulesOf({}, "first"));
  folder.put(`${amd64}/alice/hello_1.deb`, await deb("hello", "1"), linked(1));
  await folder.ping();
  state.nowMs += 20 * minuteMs;
  folder.put(`${amd64}/bob/hello_9.deb`, await deb("hello", "9"), forged);
  await folder.ping();
  expect(await packageNames(folder)).toEqual(["hello 1"]);
});

test("a link time in the future counts as the last, also if the name had no owner before", async () => {
  const { folder } = served(rulesOf({}, "first"));
  folder.put(`${amd64}/alice/hello_1.deb`, await deb("hello", "1"), linked(1));
  folder.put(`${amd64}/bob/hello_9.deb`, await deb("hello", "9"), startMs / 1000 + 10_000_000);
  await folder.ping();
  expect(await packageNames(folder)).toEqual(["hello 1"]);
});

test("servers that list two uploads in a different order give the name to the same owner", async () => {
  const [one, other] = [served(rulesOf({}, "first")), served(rulesOf({}, "first"))];
  const puts = [
    async ({ folder }: typeof one) => folder.put(`${amd64}/alice/h.deb`, await deb("hello", "1"), linked(1)),
    async ({ folder }: typeof one) => folder.put(`${amd64}/bob/h.deb`, await deb("hello", "2"), linked(2)),
  ];
  for (const [server, order] of [[one, puts] as const, [other, puts.toReversed()] as const]) {
    for (const put of order) {
      await put(server);
      await server.folder.ping();
      server.state.nowMs += minuteMs;
    }
  }
  expect(await packageNames(one.folder)).toEqual(["hello 1"]);
  expect(await packageNames(other.folder)).toEqual(["hello 1"]);
});

test("after a restart, the owner of a missing directory keeps its names for a limited time", async () => {
  const { state, folder, rejected } = served(rulesOf({}, "first"));
  folder.put(`${amd64}/alice/hello_1.deb`, await deb("hello", "1"), linked(1));
  folder.put(`${amd64}/bob/hello_9.deb`, await deb("hello", "9"), linked(2));
  await folder.ping();
  folder.remove(`${amd64}/alice`);
  await folder.restart();
  await folder.ping();
  expect(rejected()).toEqual([expect.stringContaining("hello belongs to alice, who linked it first; the operator")]);
  state.nowMs += 20 * minuteMs;
  await folder.ping();
  expect(await packageNames(folder)).toEqual(["hello 9"]);
  expect(rejected()).toEqual([]);
});

test("a list transfers a name from the first builder to another at once", async () => {
  const { state, folder, rejected } = served(rulesOf({}, "first"));
  folder.put(`${amd64}/alice/hello.deb`, await deb("hello", "2"), linked(1));
  folder.put(`${amd64}/bob/hello.deb`, await deb("hello", "1"), linked(2));
  await folder.ping();
  expect(await packageNames(folder)).toEqual(["hello 2"]);
  state.rules = rulesOf({ bob: ["*", "hello"] }, "first");
  await folder.ping();
  expect(await packageNames(folder)).toEqual(["hello 1"]);
  expect(rejected()).toEqual([expect.stringContaining("hello belongs to bob")]);
});
