// Snapshots: each kept publication has its own URL, pinned ones are never removed, and suites can be rolled back.
import { expect, test } from "vitest";
import { parseSuite } from "../../../src/base/names.ts";
import type { PublishingObserver } from "../../../src/publishing/publishing-observer.ts";
import type { Tree } from "../../../src/storage/tree.ts";
import { aDeb } from "../../support/debs.ts";
import { packageNames, ServedFolder, sha256, unlistedWhile } from "../../support/served-folder.ts";

const sid = parseSuite("sid");
const amd64 = "dists/sid/main/binary-amd64";
const release = "dists/sid/Release";
const daySeconds = 24 * 3600;
const unaborted = { signal: new AbortController().signal };

const dateOf = async (served: ServedFolder, path = release): Promise<number> =>
  Date.parse(/^Date: (.*)$/m.exec(await served.text(path))?.[1] ?? "") / 1000;

const moment = (seconds: number): string =>
  `${new Date(seconds * 1000).toISOString().slice(0, 19).replaceAll(/[-:]/g, "")}Z`;

/** A repository with a clock that the test sets, and with one package that `upload` updates. */
class Travelled {
  nowSeconds = 1_700_000_000;
  readonly served: ServedFolder;

  constructor(wrap: (tree: Tree) => Tree = (tree) => tree, observer: Partial<PublishingObserver> = {}) {
    this.served = new ServedFolder({ now: () => this.nowSeconds * 1000, wrap, observer });
  }

  /** @returns the id of the publication that contains the new version */
  async upload(version: string): Promise<string> {
    await this.#put(version);
    await this.served.ping();
    return this.current;
  }

  /** Adds the package to the tree without a ping. */
  async #put(version: string): Promise<void> {
    this.served.put(`${amd64}/${version}.deb`, await aDeb({ version, architecture: "amd64" }), this.nowSeconds);
  }

  get current(): string {
    return this.served.repository.status().suites[0]?.id ?? "";
  }

  get rolledBackTo(): string | undefined {
    return this.served.repository.status().suites[0]?.rolledBackTo;
  }

  get kept(): readonly string[] {
    return [...this.served.repository.snapshots()].map(({ id }) => id);
  }

  /** Advances the clock and removes expired publications. */
  async wait(seconds: number): Promise<void> {
    this.nowSeconds += seconds;
    await this.served.ping();
  }
}

test("each kept publication is complete at its own URL, with its packages and its original signature", async () => {
  const travelled = new Travelled();
  const { served } = travelled;
  const first = await travelled.upload("1");
  const signed = await served.text("dists/sid/InRelease");
  const index = await served.text(`${amd64}/Packages`);
  await travelled.wait(60);
  served.remove(`${amd64}/1.deb`);
  const second = await travelled.upload("2");

  const past = `snapshots/${first}`;
  expect(await served.text(`${past}/dists/sid/InRelease`)).toBe(signed);
  expect(await packageNames(served, `${past}/${amd64}/Packages`)).toEqual(["hello 1"]);
  expect(await served.text(`${past}/${amd64}/by-hash/SHA256/${sha256(index)}`)).toBe(index);
  const fileName = /^Filename: (.*)$/m.exec(index)?.[1] ?? "";
  expect(sha256((await served.bytes(`${past}/${fileName}`)) ?? "")).toBe(/^SHA256: (.*)$/m.exec(index)?.[1]);
  expect(await packageNames(served, `snapshots/${second}/${amd64}/Packages`)).toEqual(["hello 2"]);
  expect([...served.repository.snapshots()]).toEqual([
    { suite: sid, id: second, servedSeconds: travelled.nowSeconds, isCurrent: true, pins: [] },
    { suite: sid, id: first, servedSeconds: travelled.nowSeconds - 60, isCurrent: false, pins: [] },
  ]);
});

test("a snapshot serves only its own indices by hash", async () => {
  const travelled = new Travelled();
  const first = await travelled.upload("1");
  await travelled.wait(60);
  await travelled.upload("2");
  const newer = sha256(await travelled.served.text(`${amd64}/Packages`));
  expect(await travelled.served.bytes(`snapshots/${first}/${amd64}/by-hash/SHA256/${newer}`)).toBeUndefined();
});

test("a time selects the newest publication up to that time, and a time before the first one is not found", async () => {
  const travelled = new Travelled();
  const { served } = travelled;
  const firstSeconds = travelled.nowSeconds;
  await travelled.upload("1");
  await travelled.wait(3600);
  await travelled.upload("2");
  const versions = async (seconds: number) =>
    (await served.bytes(`snapshots/${moment(seconds)}/${release}`)) === undefined
      ? undefined
      : await packageNames(served, `snapshots/${moment(seconds)}/${amd64}/Packages`);
  expect(await versions(firstSeconds - 1)).toBeUndefined();
  expect(await versions(firstSeconds)).toEqual(["hello 1"]);
  expect(await versions(firstSeconds + 3599)).toEqual(["hello 1"]);
  expect(await versions(firstSeconds + 3600)).toEqual(["hello 1", "hello 2"]);
  expect(await versions(firstSeconds + 10 * 365 * daySeconds)).toEqual(["hello 1", "hello 2"]);
});

test("every other path below snapshots is not found", async () => {
  const travelled = new Travelled();
  await travelled.upload("1");
  for (const path of [
    "20261122/dists/sid/Release",
    `${"x".repeat(3000)}/dists/sid/Release`,
    "none/dists/sid/Release",
    "20991122T134500Z/dists/other/Release",
    "20991122T134500Z/Release",
    `20991122T134500Z/${amd64}/1.deb`,
  ]) {
    expect(await travelled.served.repository.find(`snapshots/${path}`, unaborted)).toBeUndefined();
  }
});

test("a pinned publication is kept with its packages and by-hash files until it is unpinned", async () => {
  const travelled = new Travelled();
  const { served } = travelled;
  const first = await travelled.upload("1");
  const index = await served.text(`${amd64}/Packages`);
  const deb = /^Filename: (.*)$/m.exec(index)?.[1] ?? "";
  await served.repository.snapshotControl.pin(sid, first, "release-1");
  await travelled.wait(60);
  served.remove(`${amd64}/1.deb`);
  const second = await travelled.upload("2");
  await travelled.wait(60);
  served.remove(`${amd64}/2.deb`);
  const third = await travelled.upload("3");

  await travelled.wait(30 * daySeconds);
  expect(travelled.kept).toEqual([third, first]);
  await served.restart();
  await travelled.wait(30 * daySeconds);
  for (const name of [first, "release-1"]) {
    expect(await packageNames(served, `snapshots/${name}/${amd64}/Packages`)).toEqual(["hello 1"]);
    expect(sha256((await served.bytes(`snapshots/${name}/${deb}`)) ?? "")).toBe(/^SHA256: (.*)$/m.exec(index)?.[1]);
  }
  expect(await served.text(`${amd64}/by-hash/SHA256/${sha256(index)}`)).toBe(index);
  // The second publication is removed, and its time does not select the first one.
  expect(await served.repository.find(`snapshots/${second}/${release}`, unaborted)).toBeUndefined();

  await served.repository.snapshotControl.unpin(sid, "release-1");
  await travelled.wait(daySeconds);
  travelled.nowSeconds += 1;
  await travelled.upload("4");
  expect(travelled.kept).not.toContain(first);
  expect(await served.bytes(deb)).toBeUndefined();
  expect(await served.bytes(`snapshots/release-1/${release}`)).toBeUndefined();
});

test("by-hash files of a pinned publication are kept if a later publication with the same files is removed", async () => {
  const travelled = new Travelled();
  const { served } = travelled;
  const first = await travelled.upload("1");
  const index = await served.text(`${amd64}/Packages`);
  await served.repository.snapshotControl.pin(sid, first, "one");
  await travelled.wait(60);
  // Another publication with the same index.
  served.put("dists/sid/extra/binary-amd64/x.deb", await aDeb({ package: "x", architecture: "amd64" }));
  await served.ping();
  await travelled.wait(60);
  await travelled.upload("2");
  await travelled.wait(30 * daySeconds);
  expect(travelled.kept).toHaveLength(2);
  expect(await served.text(`${amd64}/by-hash/SHA256/${sha256(index)}`)).toBe(index);
});

test("the name of a pin cannot be reused, a removed publication cannot be pinned, and a time is not a valid name", async () => {
  const travelled = new Travelled();
  const { snapshotControl } = travelled.served.repository;
  const first = await travelled.upload("1");
  await travelled.wait(60);
  const second = await travelled.upload("2");
  expect(await snapshotControl.pin(sid, moment(travelled.nowSeconds - 1), "good")).toBe(first);
  expect(await snapshotControl.pin(sid, "good", "better")).toBe(first);
  await expect(snapshotControl.pin(sid, second, "good")).rejects.toThrow(`good is ${first}`);
  await expect(snapshotControl.pin(sid, "20010101T000000Z", "old")).rejects.toThrow("no publication");
  await expect(snapshotControl.pin(sid, second, "20010101T000000Z")).rejects.toThrow("not a name");
  await expect(snapshotControl.pin(sid, second, "a/b")).rejects.toThrow("not a name");
  await expect(snapshotControl.unpin(sid, "worse")).rejects.toThrow("nothing of sid");
});

test("a rolled back suite serves the old content with a newer Date and ignores changes until it is resumed", async () => {
  const travelled = new Travelled();
  const { served } = travelled;
  const good = await travelled.upload("1");
  const goodIndex = await served.text(`${amd64}/Packages`);
  await travelled.wait(60);
  await travelled.upload("2-bad");
  const badDate = await dateOf(served);

  travelled.nowSeconds += 60;
  expect(await served.repository.snapshotControl.rollBack(sid, good)).toBe(good);
  expect(await served.text(`${amd64}/Packages`)).toBe(goodIndex);
  const rolledDate = await dateOf(served);
  expect(rolledDate).toBeGreaterThan(badDate);
  expect(travelled.rolledBackTo).toBe(good);

  travelled.nowSeconds += 60;
  const { publications, added } = await (async () => {
    served.put(`${amd64}/3.deb`, await aDeb({ version: "3", architecture: "amd64" }), travelled.nowSeconds);
    return await served.ping();
  })();
  expect(added).toEqual([`${amd64}/3.deb`]);
  expect(publications).toMatchObject([{ rolledBackTo: good, dateSeconds: rolledDate }]);
  expect(await served.text(`${amd64}/Packages`)).toBe(goodIndex);

  await served.restart();
  await served.ping();
  expect(await served.text(`${amd64}/Packages`)).toBe(goodIndex);
  expect(await dateOf(served)).toBe(rolledDate);

  await served.repository.snapshotControl.resume(sid);
  expect(await packageNames(served)).toEqual(["hello 1", "hello 2-bad", "hello 3"]);
  expect(await dateOf(served)).toBeGreaterThan(rolledDate);
  expect(travelled.rolledBackTo).toBeUndefined();
  await expect(served.repository.snapshotControl.resume(sid)).rejects.toThrow("not rolled back");
});

test("a rollback is reported as a new publication, so that exports follow it", async () => {
  const published: string[] = [];
  const travelled = new Travelled(undefined, { published: (suite) => void published.push(suite) });
  const good = await travelled.upload("1");
  await travelled.wait(60);
  await travelled.upload("2-bad");
  expect(published).toEqual([sid, sid]);
  travelled.nowSeconds += 60;
  await travelled.served.repository.snapshotControl.rollBack(sid, good);
  expect(published).toEqual([sid, sid, sid]);
});

test("a rollback does not need the tree, and can restore a suite that was removed from the tree", async () => {
  let isDown = false;
  const travelled = new Travelled(unlistedWhile(() => isDown));
  const { served } = travelled;
  const good = await travelled.upload("1");
  await travelled.wait(60);
  served.remove("dists/sid");
  await served.ping();
  expect(await served.bytes(release)).toBeUndefined();
  isDown = true;
  await served.repository.snapshotControl.rollBack(sid, good);
  expect(await packageNames(served)).toEqual(["hello 1"]);
  isDown = false;
  await travelled.wait(60);
  expect(await packageNames(served)).toEqual(["hello 1"]);
  await served.repository.snapshotControl.resume(sid);
  expect(await served.bytes(release)).toBeUndefined();
});

test("while a suite is rolled back, the publication that it serves and the target of the rollback are kept", async () => {
  const travelled = new Travelled();
  const { served } = travelled;
  const good = await travelled.upload("1");
  const deb = /^Filename: (.*)$/m.exec(await served.text(`${amd64}/Packages`))?.[1] ?? "";
  await travelled.wait(60);
  served.remove(`${amd64}/1.deb`);
  const bad = await travelled.upload("2-bad");
  await served.repository.snapshotControl.rollBack(sid, good);
  await travelled.wait(30 * daySeconds);
  expect(travelled.kept).toContain(good);
  expect(travelled.kept).not.toContain(bad);
  expect(await served.bytes(deb)).toBeDefined();
  await served.restart();
  await travelled.wait(30 * daySeconds);
  expect(await packageNames(served)).toEqual(["hello 1"]);
  await served.repository.snapshotControl.resume(sid);
  expect(await packageNames(served)).toEqual(["hello 2-bad"]);
  expect(await served.bytes(/^Filename: (.*)$/m.exec(await served.text(`${amd64}/Packages`))?.[1] ?? "")).toBeDefined();
});
