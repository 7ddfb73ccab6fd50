// Names have owners: a builder publishes its own names, and nobody else's package takes their place in an index.
import { expect, test } from "vitest";
import { parseTreePath } from "../../../src/base/names.ts";
import type { OwnerPolicy, OwnerRules } from "../../../src/catalog/suite/owner-rules.ts";
import { aDeb } from "../../support/debs.ts";
import { packageNames as packageNamesIn, ServedFolder } from "../../support/served-folder.ts";

const amd64 = "dists/sid/main/binary-amd64";
const arm64 = "dists/sid/main/binary-arm64";
const startMs = 1_750_000_000_000;
const minuteMs = 60_000;
/** Link times from before the tests begin. */
const linked = (minutes: number): number => 1_749_000_000 + minutes * 60;

type Lists = Readonly<Record<string, readonly string[] | undefined>>;

/** Builders with a directory in each place, as `builder add` makes them. */
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

test("a package whose name is in another builder's list is a reject that says whose it is and what to do", async () => {
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

test("a builder with a list publishes what is in it, in all of its directories, and nothing else", async () => {
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

test("a binary belongs to its source, as long as nobody else has its name", async () => {
  const { folder, rejected } = served(rulesOf({ alice: ["hello"], bob: undefined }));
  folder.put(`${amd64}/alice/hello-doc.deb`, await deb("hello-doc", "1", { Source: "hello" }));
  await folder.ping();
  expect(await packageNames(folder)).toEqual(["hello-doc 1"]);
  // To claim another's package as built from one's own source takes nothing over, whichever came first.
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
  ["another builder's list has its name", { alice: ["hello"], bob: ["apt"] }],
  ["its builder's list excludes it", { alice: ["hello", "!apt"] }],
])("a binary does not belong to its source where %s", async (_, lists) => {
  const { folder, rejected } = served(rulesOf(lists));
  folder.put(`${amd64}/alice/apt.deb`, await deb("apt", "99", { Source: "hello" }));
  folder.put(`${amd64}/alice/hello.deb`, await deb("hello"));
  await folder.ping();
  expect(await packageNames(folder)).toEqual(["hello 1"]);
  expect(rejected()).toEqual([expect.stringContaining("not-owner")]);
});

test("nobody builds binaries from another's source package", async () => {
  const { folder, rejected } = served(rulesOf({ alice: ["hello"], bob: undefined, carol: ["hello-doc"] }));
  folder.put(`${amd64}/bob/hello-dev.deb`, await deb("hello-dev", "1", { Source: "hello" }));
  // Unless the list has the binary's own name.
  folder.put(`${amd64}/carol/hello-doc.deb`, await deb("hello-doc", "1", { Source: "hello (1)" }));
  await folder.ping();
  expect(await packageNames(folder)).toEqual(["hello-doc 1"]);
  expect(rejected()).toEqual([expect.stringContaining("hello-dev is built from hello, which belongs to alice")]);
});

test("builders whose lists have the same name share it, and `*` allows every name that is nobody's", async () => {
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

test("the operator, who can put files directly into a place, may publish every name", async () => {
  const { folder, rejected } = served(rulesOf({ alice: ["hello"] }));
  folder.put(`${amd64}/hello.deb`, await deb("hello", "2"));
  folder.put(`${amd64}/alice/hello.deb`, await deb("hello", "1"));
  await folder.ping();
  expect(await packageNames(folder)).toEqual(["hello 1", "hello 2"]);
  expect(rejected()).toEqual([]);
});

test("the name of the keyring package is the server's own", async () => {
  const { folder, rejected } = served(rulesOf({ bob: undefined }, "any", ["debian-archive-keyring"]));
  folder.put(`${amd64}/bob/k.deb`, await deb("debian-archive-keyring", "9999"));
  folder.put(`${amd64}/debian-archive-keyring.deb`, await deb("debian-archive-keyring", "1"));
  await folder.ping();
  expect(await packageNames(folder)).toEqual(["debian-archive-keyring 1"]);
  expect(rejected()).toEqual([expect.stringContaining("the server makes this package itself (archive_keyring)")]);
});

test("changed lists take effect with the next refresh, also for known packages, and no file is read again", async () => {
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

test("where only listed names are allowed, any other name is a reject, also one built from a listed source", async () => {
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

test("by default everybody may publish every name", async () => {
  const { folder, rejected } = served(rulesOf({ alice: undefined, bob: undefined }));
  folder.put(`${amd64}/alice/hello.deb`, await deb("hello", "1"));
  folder.put(`${amd64}/bob/hello.deb`, await deb("hello", "2"));
  await folder.ping();
  expect(await packageNames(folder)).toEqual(["hello 1", "hello 2"]);
  expect(rejected()).toEqual([]);
});

test("the first to link a name has it: the same name elsewhere is a reject, in this suite alone", async () => {
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

test("the first one's directories, binaries and sources and architectures, do not reject each other", async () => {
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

test("an upgrade and a pruning do not hand a name to somebody who waits for it", async () => {
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
  // Nor does a restart, though the tree alone would now say otherwise.
  await folder.restart();
  await folder.ping();
  expect(await packageNames(folder)).toEqual(["hello 2"]);
  expect(rejected()).toHaveLength(1);
});

test("a name is free when its holder's last package goes", async () => {
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
  ["of the past", linked(-100_000)],
  ["of the future", startMs / 1000 + 10_000_000],
])("a link time %s takes no name from whom it has been known to be for a while", async (_, forged) => {
  const { state, folder } = served(rulesOf({}, "first"));
  folder.put(`${amd64}/alice/hello_1.deb`, await deb("hello", "1"), linked(1));
  await folder.ping();
  state.nowMs += 20 * minuteMs;
  folder.put(`${amd64}/bob/hello_9.deb`, await deb("hello", "9"), forged);
  await folder.ping();
  expect(await packageNames(folder)).toEqual(["hello 1"]);
});

test("a link time of the future is the last, though nobody was seen before", async () => {
  const { folder } = served(rulesOf({}, "first"));
  folder.put(`${amd64}/alice/hello_1.deb`, await deb("hello", "1"), linked(1));
  folder.put(`${amd64}/bob/hello_9.deb`, await deb("hello", "9"), startMs / 1000 + 10_000_000);
  await folder.ping();
  expect(await packageNames(folder)).toEqual(["hello 1"]);
});

test("servers that see two uploads in another order come to the same", async () => {
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

test("after a restart a name stays with a holder whose directory is not seen for a while, and not for ever", async () => {
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

test("a list gives a name to another than the first one, at once", async () => {
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
