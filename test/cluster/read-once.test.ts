// Each file of a tree is read by one of its servers, with a real Valkey between them.
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { silentLog } from "../../src/base/log.ts";
import { Secret } from "../../src/base/secret.ts";
import { withResolvers } from "../../src/base/with-resolvers.ts";
import { inspectContent } from "../../src/catalog/inspection/inspect.ts";
import { defaultInspectLimits as limits } from "../../src/catalog/inspection/inspect-limits.ts";
import { entryMetadataOf } from "../../src/catalog/metadata/entry-metadata.ts";
import { ReadOnce } from "../../src/cluster/read-once.ts";
import { Valkey } from "../../src/cluster/valkey.ts";
import type { Tree } from "../../src/storage/tree.ts";
import { StorageUnavailable } from "../../src/storage/tree.ts";
import { aDeb, aDsc, inChunks } from "../support/debs.ts";
import { lookWithMetadata } from "../support/metadata-tree.ts";
import type { ServedFolderOptions } from "../support/served-folder.ts";
import { packageNames, ServedFolder, servedContents } from "../support/served-folder.ts";
import { ValkeyUnderTest } from "../support/valkey.ts";

const amd64 = "dists/sid/main/binary-amd64";
const readCap = "URI:DIR2-RO:abcdefghijklmnop:qrstuvwxyz";

let server: ValkeyUnderTest;
const closing: (() => void)[] = [];

beforeEach(async () => {
  server = await ValkeyUnderTest.start();
});

afterEach(async () => {
  for (const close of closing.splice(0)) close();
  await server.stop();
});

/** A connection to look into Valkey with. */
async function connect(): Promise<Valkey> {
  const valkey = new Valkey(server.settings(), silentLog);
  closing.push(() => valkey.close());
  await vi.waitFor(() => expect(valkey.isConnected).toBe(true), 10_000);
  return valkey;
}

interface Replica {
  readonly served: ServedFolder;
  readonly valkey: Valkey;
  readonly readOnce: ReadOnce;
  /** The files that it has opened. */
  readonly opened: string[];
  /** The sources of its inspections. */
  readonly sources: string[];
}

interface ReplicaOptions extends ServedFolderOptions {
  /** Called before a file is opened. */
  readonly onOpen?: (path: string) => Promise<void>;
  readonly metadata?: ReadonlyMap<string, unknown>;
  readonly secret?: string;
  readonly reservationMs?: number;
  readonly settleMs?: number;
  /** Whether all that it knows is stored in each new Valkey. */
  readonly isSwept?: boolean;
}

/** Shorter than in reality, but long enough for all to tell what they know. */
const settleMs = 500;

let replicas = 0;

/** A replica of a folder: a complete repository with its own state, of which there are several in this process. */
async function replica(folder: string | undefined, options: ReplicaOptions = {}): Promise<Replica> {
  const valkey = await connect();
  const [opened, sources]: [string[], string[]] = [[], []];
  const readOnce = new ReadOnce({
    valkey,
    secret: new Secret(options.secret ?? readCap),
    repository: "debian",
    member: `replica ${++replicas}`,
    version: "1",
    settleMs: options.settleMs ?? settleMs,
    ...(options.reservationMs !== undefined && { reservationMs: options.reservationMs }),
  });
  closing.push(() => readOnce.close());
  const wrap = (tree: Tree): Tree => ({
    look: lookWithMetadata(tree, options.metadata ?? new Map()),
    async *open(file, range, signal) {
      opened.push(file.path);
      await options.onOpen?.(file.path);
      yield* tree.open(file, range, signal);
    },
  });
  const served = new ServedFolder({
    ...options,
    ...(folder !== undefined && { folder }),
    sharedInspections: readOnce.shared,
    wrap: (tree) => options.wrap?.(wrap(tree)) ?? wrap(tree),
    observer: { inspected: (source) => void sources.push(source) },
  });
  if (options.isSwept !== false) readOnce.add(served.repository);
  await readOnce.start();
  return { served, valkey, readOnce, opened, sources };
}

const aPackage = (name: string, files = { [`./usr/share/${name}`]: "" }): Promise<Buffer> =>
  aDeb({ package: name, architecture: "amd64", files });

/** So many files that their list, compressed, is stored under a key of its own. */
const manyFiles = (name: string): { readonly [path: string]: string } =>
  Object.fromEntries(Array.from({ length: 2500 }, () => [`./usr/share/${name}-${randomUUID()}${randomUUID()}`, ""]));

const putPackages = async (served: ServedFolder, count: number, prefix = "p"): Promise<void> => {
  for (let n = 0; n < count; n++) served.put(`${amd64}/${prefix}${n}.deb`, await aPackage(`${prefix}${n}`));
};

const counts = (items: readonly string[]): number[] => [
  ...items.reduce((all, each) => all.set(each, (all.get(each) ?? 0) + 1), new Map<string, number>()).values(),
];

describe("three replicas of a new tree", () => {
  test("read each file once between them, each a part of it, and publish the same indices", async () => {
    // None reads more than it can at once before all three have begun.
    const begun = new Set<number>();
    const allBegun = withResolvers<void>();
    const reading = (number: number): Pick<ReplicaOptions, "onOpen"> => ({
      async onOpen() {
        if (begun.add(number).size === 3) allBegun.resolve();
        await allBegun.promise;
        await sleep(5);
      },
    });
    const one = await replica(undefined, reading(1));
    const { dsc, files } = aDsc();
    await putPackages(one.served, 150);
    for (const [name, bytes] of files) one.served.put(`dists/sid/main/source/${name}`, bytes);
    const { folder } = one.served;
    const all = [one, await replica(folder, reading(2)), await replica(folder, reading(3))];
    await Promise.all(all.map(({ served }) => served.ping()));
    const opened = all.flatMap((each) => each.opened);
    expect(opened.toSorted()).toEqual([...new Set(opened)].toSorted());
    expect(opened).toHaveLength(150 + files.size);
    for (const each of all) {
      expect(each.opened.length).toBeGreaterThan(0);
      expect(each.sources.filter((source) => source === "read")).toHaveLength(each.opened.length);
      expect(each.sources.filter((source) => source === "shared")).toHaveLength(opened.length - each.opened.length);
      for (const path of [`${amd64}/Packages`, "dists/sid/main/source/Sources"])
        expect(await each.served.text(path)).toBe(await one.served.text(path));
    }
    expect(await one.served.text("dists/sid/main/source/Sources")).toContain(dsc.replace(/_.*/, ""));
  });

  test("read everything three times if each has another secret", async () => {
    const one = await replica(undefined);
    await putPackages(one.served, 10);
    const others = [
      await replica(one.served.folder, { secret: "b" }),
      await replica(one.served.folder, { secret: "c" }),
    ];
    await Promise.all([one, ...others].map(({ served }) => served.ping()));
    expect(counts([one, ...others].flatMap(({ opened }) => opened))).toEqual(Array.from({ length: 10 }, () => 3));
  });
});

test("a replica that is added late reads nothing, also for Contents", async () => {
  const one = await replica(undefined, { contents: true });
  await putPackages(one.served, 10);
  one.served.put(`${amd64}/long.deb`, await aPackage("long", manyFiles("long")));
  await one.served.ping();
  const contents = await servedContents(one.served, "main/Contents-amd64");
  expect(contents).toMatch(/^usr\/share\/p9 +p9$/m);
  expect(await keysOf(one.valkey, "filelist:")).toHaveLength(1);
  const late = await replica(one.served.folder, { contents: true });
  await late.served.ping();
  expect(await servedContents(late.served, "main/Contents-amd64")).toBe(contents);
  expect(late.opened).toEqual([]);
  expect(one.opened).toHaveLength(11);
});

describe("while a replica reads a file", () => {
  test("another one waits for it, however long that takes", async () => {
    const { promise: held, resolve: goOn } = withResolvers<void>();
    const one = await replica(undefined, { onOpen: () => held, reservationMs: 300 });
    await putPackages(one.served, 1);
    const other = await replica(one.served.folder);
    const refreshed = one.served.ping();
    await vi.waitFor(() => expect(one.opened).toHaveLength(1), 10_000);
    const waiting = other.served.ping();
    // Three times as long as a reservation lasts if it is not renewed.
    await sleep(900);
    expect(other.opened).toEqual([]);
    goOn();
    await Promise.all([refreshed, waiting]);
    expect(other.opened).toEqual([]);
    expect(await packageNames(other.served)).toEqual(["p0 1.0-1"]);
  });

  test("another one takes over when it has died", async () => {
    const { promise: held, resolve: goOn } = withResolvers<void>();
    const dying = await replica(undefined, { onOpen: () => held, reservationMs: 600 });
    await putPackages(dying.served, 1);
    const other = await replica(dying.served.folder);
    const refreshed = dying.served.ping();
    await vi.waitFor(() => expect(dying.opened).toHaveLength(1), 10_000);
    const begunMs = performance.now();
    const waiting = other.served.ping();
    // As after SIGKILL: it renews nothing and says nothing.
    dying.readOnce.close();
    dying.valkey.close();
    await waiting;
    expect(performance.now() - begunMs).toBeLessThan(600 + 2000);
    expect(other.opened).toHaveLength(1);
    expect(await packageNames(other.served)).toEqual(["p0 1.0-1"]);
    goOn();
    await refreshed;
  });

  test("another one reads it if the first one cannot, and no temporary rejection is shared", async () => {
    const lost = new Set([`${amd64}/p0.deb`]);
    const failing = (path: string) =>
      lost.has(path)
        ? Promise.reject(new StorageUnavailable(path as never, "lost", { transient: false }))
        : Promise.resolve();
    const one = await replica(undefined, { onOpen: failing });
    await putPackages(one.served, 2);
    const other = await replica(one.served.folder);
    await one.served.ping();
    expect(await packageNames(one.served)).toEqual(["p1 1.0-1"]);
    await other.served.ping();
    expect(other.opened).toEqual([`${amd64}/p0.deb`]);
    expect(await packageNames(other.served)).toEqual(["p0 1.0-1", "p1 1.0-1"]);
    const readsBefore = one.opened.length;
    await one.served.ping();
    expect(await packageNames(one.served)).toEqual(["p0 1.0-1", "p1 1.0-1"]);
    expect(one.opened).toHaveLength(readsBefore);
  });
});

test("a rejection is shared too", async () => {
  const one = await replica(undefined);
  one.served.put(`${amd64}/broken.deb`, "this is no package");
  const other = await replica(one.served.folder);
  const [first] = (await one.served.ping()).rejected;
  expect((await other.served.ping()).rejected).toEqual([first]);
  expect([...one.opened, ...other.opened]).toHaveLength(1);
});

describe("without Valkey", () => {
  /** Replicas that have lost Valkey. */
  async function lostValkey(replicas: readonly Replica[]): Promise<void> {
    await server.kill();
    await vi.waitFor(() => expect(replicas.some(({ valkey }) => valkey.isConnected)).toBe(false), 10_000);
  }

  test("no replica reads; each serves what it has, and once Valkey is back, each file is read once", async () => {
    const one = await replica(undefined);
    await putPackages(one.served, 1, "old");
    await one.served.ping();
    const other = await replica(one.served.folder);
    await other.served.ping();
    await lostValkey([one, other]);
    await putPackages(one.served, 30);
    let ended = 0;
    const refreshed = Promise.all([one, other].map(({ served }) => served.ping().then(() => ended++)));
    await sleep(1500);
    expect([ended, one.opened.length, other.opened.length]).toEqual([0, 1, 0]);
    for (const { served } of [one, other]) expect(await packageNames(served)).toEqual(["old0 1.0-1"]);
    await server.restart();
    await refreshed;
    const opened = [one, other].flatMap((each) => each.opened);
    expect(opened).toHaveLength(31);
    expect(new Set(opened).size).toBe(31);
    for (const { served } of [one, other]) expect(await packageNames(served)).toHaveLength(31);
  });

  test("a replica that waits can be stopped", async () => {
    const one = await replica(undefined);
    await lostValkey([one]);
    await putPackages(one.served, 30);
    const refreshed = one.served.ping().catch((thrown: unknown) => thrown);
    await sleep(300);
    await one.served.stop();
    expect(await refreshed).toBeInstanceOf(Error);
    expect(one.opened).toEqual([]);
  });

  test("what a replica was reading is told when Valkey is back, and nobody reads it again", async () => {
    const { promise: held, resolve: goOn } = withResolvers<void>();
    const one = await replica(undefined, { onOpen: () => held, isSwept: false });
    await putPackages(one.served, 1);
    const other = await replica(one.served.folder);
    const refreshed = one.served.ping();
    await vi.waitFor(() => expect(one.opened).toHaveLength(1), 10_000);
    await lostValkey([one, other]);
    goOn();
    await refreshed;
    const waiting = other.served.ping();
    await server.restart();
    await waiting;
    expect(other.opened).toEqual([]);
    expect(await packageNames(other.served)).toEqual(["p0 1.0-1"]);
  });
});

describe("a Valkey that loses its data", () => {
  test("learns who reads what before anybody else may read it", async () => {
    const { promise: held, resolve: goOn } = withResolvers<void>();
    const one = await replica(undefined, { onOpen: () => held, settleMs: 2000 });
    await putPackages(one.served, 1);
    const other = await replica(one.served.folder, { settleMs: 2000 });
    const refreshed = one.served.ping();
    await vi.waitFor(() => expect(one.opened).toHaveLength(1), 10_000);
    const waiting = other.served.ping();
    await server.empty();
    await sleep(3000);
    expect(other.opened).toEqual([]);
    goOn();
    await Promise.all([refreshed, waiting]);
    expect(other.opened).toEqual([]);
  });

  test("and whose clock is put back lets replicas read soon", async () => {
    const one = await replica(undefined);
    await one.valkey.run((redis) => redis.set(`${one.valkey.prefix}epoch`, Date.now() + 3_600_000));
    await putPackages(one.served, 1);
    await one.served.ping();
    expect(await packageNames(one.served)).toEqual(["p0 1.0-1"]);
  });

  test("learns what only one replica knows before anybody else may read it", async () => {
    const one = await replica(undefined);
    await putPackages(one.served, 5);
    await one.served.ping();
    const other = await replica(one.served.folder);
    await server.restart();
    await other.served.ping();
    expect(other.opened).toEqual([]);
    expect(await packageNames(other.served)).toHaveLength(5);
  });
});

const keysOf = async (valkey: Valkey, kind: string): Promise<string[]> =>
  await valkey.run((redis) => redis.keys(`${valkey.prefix}${kind}*`));

describe("a value in Valkey", () => {
  /** A tree of one package, which one replica has read. */
  async function shared() {
    const one = await replica(undefined);
    await putPackages(one.served, 1);
    await one.served.ping();
    const [key = ""] = await keysOf(one.valkey, "inspection:");
    return { one, key };
  }

  test.each([
    ["was changed", (value: Buffer) => Buffer.from(value.map((byte, n) => (n === value.length - 1 ? byte ^ 1 : byte)))],
    ["has a form of a newer version", (value: Buffer) => Buffer.from(value.map((byte, n) => (n === 0 ? 99 : byte)))],
    ["comes from somebody else", () => Buffer.from("hello")],
    ["was cut", (value: Buffer) => value.subarray(0, 30)],
    ["is empty", () => Buffer.alloc(0)],
  ])("that %s is ignored: the file is read, once, and the value replaced", async (_, change) => {
    const { one, key } = await shared();
    const value = (await one.valkey.run((redis) => redis.getBuffer(key))) ?? Buffer.alloc(0);
    await one.valkey.run((redis) => redis.set(key, change(value)));
    const others = [await replica(one.served.folder), await replica(one.served.folder)];
    await Promise.all(others.map(({ served }) => served.ping()));
    expect(others.flatMap(({ opened }) => opened)).toHaveLength(1);
    for (const { served } of others) expect(await packageNames(served)).toEqual(["p0 1.0-1"]);
    const late = await replica(one.served.folder);
    await late.served.ping();
    expect(late.opened).toEqual([]);
  });

  test("under the key of another file is ignored", async () => {
    const { one, key } = await shared();
    one.served.put(`${amd64}/other.deb`, await aDeb({ package: "other", architecture: "amd64" }));
    await one.served.ping();
    const keys = await keysOf(one.valkey, "inspection:");
    const [otherKey = ""] = keys.filter((each) => each !== key);
    await one.valkey.run((redis) => redis.copy(key, otherKey, "REPLACE"));
    const late = await replica(one.served.folder);
    await late.served.ping();
    expect(late.opened).toEqual([`${amd64}/other.deb`]);
    expect(await packageNames(late.served)).toEqual(["other 1.0-1", "p0 1.0-1"]);
  });

  test("shows neither a cap nor anything about a package", async () => {
    const one = await replica(undefined, { contents: true });
    one.served.put(`${amd64}/secret-name.deb`, await aPackage("secret-name", manyFiles("hushed")));
    await one.served.ping();
    await one.served.repository.audit.mismatched(`${amd64}/secret-name.deb` as never);
    for (const kind of ["untrusted:", "inspection:", "filelist:"])
      await vi.waitFor(async () => expect(await keysOf(one.valkey, kind)).toHaveLength(1), 10_000);
    const keys = await keysOf(one.valkey, "");
    for (const key of keys) {
      const isHash = (await one.valkey.run((redis) => redis.type(key))) === "hash";
      const values: readonly (Buffer | null)[] = await one.valkey.run(async (redis) =>
        isHash ? await redis.hvalsBuffer(key) : [await redis.getBuffer(key)],
      );
      const fields = isHash ? await one.valkey.run((redis) => redis.hkeys(key)) : [];
      for (const each of [key, ...fields, ...values.map((value) => value?.toString("latin1") ?? "")])
        for (const secret of ["URI:", "abcdefghijklmnop", "secret-name", "hushed", "binary", "sha256", "Package"])
          expect(each).not.toContain(secret);
    }
  });
});

test("replicas with other limits or digests do not take over one another's inspections", async () => {
  const strict = await replica(undefined, { inspectLimits: { ...limits, maxFileBytes: 100 } });
  await putPackages(strict.served, 1);
  const lenient = await replica(strict.served.folder);
  expect((await strict.served.ping()).rejected).toHaveLength(1);
  expect((await lenient.served.ping()).rejected).toHaveLength(0);
  const alsoStrict = await replica(strict.served.folder, { inspectLimits: { ...limits, maxFileBytes: 100 } });
  expect((await alsoStrict.served.ping()).rejected).toHaveLength(1);
  expect([strict, lenient, alsoStrict].map(({ opened }) => opened.length)).toEqual([0, 1, 0]);
});

describe("metadata of an uploader that turns out to be wrong at one replica", () => {
  /** A package whose metadata describes another one, at two replicas that believe it. */
  async function lied() {
    const bytes = await aDeb({ package: "real", architecture: "amd64" });
    const truth = await inspectContent("binary", inChunks(bytes), { limits, algorithms: ["md5", "sha256"] });
    if (truth.kind !== "binary") throw new Error("it is a package");
    const control = truth.control.map(([name, value]) => [name, name === "Package" ? "described" : value] as const);
    const path = `${amd64}/real.deb`;
    const metadata = new Map<string, unknown>([[path, entryMetadataOf({ ...truth, control })]]);
    const one = await replica(undefined, { metadata });
    one.served.put(path, bytes);
    const other = await replica(one.served.folder, { metadata });
    for (const { served } of [one, other]) {
      await served.ping();
      expect(await packageNames(served)).toEqual(["described 1.0-1"]);
    }
    return { one, other, metadata };
  }

  test("is believed by none any more, and the file is read once", async () => {
    const { one, other } = await lied();
    await one.served.repository.audit.scrubOne();
    for (const { served } of [one, other])
      await vi.waitFor(async () => expect(await packageNames(served)).toEqual([]), 10_000);
    expect([one.opened.length, other.opened.length]).toEqual([1, 0]);
  });

  test("is not believed by a replica that is added later, nor after Valkey has lost everything", async () => {
    const { one, metadata } = await lied();
    await one.served.repository.audit.scrubOne();
    await vi.waitFor(async () => expect(await packageNames(one.served)).toEqual([]), 10_000);
    await server.restart();
    await vi.waitFor(async () => expect(await keysOf(await connect(), "untrusted:")).toHaveLength(1), 10_000);
    const late = await replica(one.served.folder, { metadata });
    await late.served.ping();
    expect(late.served.repository.status().rejected.map(({ code }) => code)).toEqual(["mismatch"]);
    expect(late.opened).toEqual([]);
  });
});

test("an inspection that one replica marks as wrong is taken over by nobody, and made again once", async () => {
  const one = await replica(undefined);
  await putPackages(one.served, 1);
  const other = await replica(one.served.folder);
  await one.served.ping();
  await other.served.ping();
  const path = `${amd64}/p0.deb` as never;
  await one.served.repository.audit.mismatched(path);
  await vi.waitFor(() => expect([...one.opened, ...other.opened]).toHaveLength(2), 10_000);
  for (const { served } of [one, other]) {
    await served.ping();
    expect(await packageNames(served)).toEqual(["p0 1.0-1"]);
  }
  expect([...one.opened, ...other.opened]).toHaveLength(2);
});
