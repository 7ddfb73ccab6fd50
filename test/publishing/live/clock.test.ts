// The Date of Release after uploads, after a change of the clock, and after the state directory is lost.
import { expect, test } from "vitest";
import { parseSuite } from "../../../src/base/names.ts";
import {
  defaultDateLagSeconds,
  minDateLagSeconds,
  nextDate,
  waitForDateMs,
} from "../../../src/publishing/build/release-date.ts";
import type { Signer } from "../../../src/signing/signer.ts";
import { aDeb } from "../../support/debs.ts";
import type { ServedFolderOptions } from "../../support/served-folder.ts";
import { ServedFolder } from "../../support/served-folder.ts";

const sid = parseSuite("sid");
const amd64 = "dists/sid/main/binary-amd64";
const release = "dists/sid/Release";
const inRelease = "dists/sid/InRelease";
const noon = Date.UTC(2026, 10, 22, 12) / 1000;
const dateIn = (text: string): number => Date.parse(/^Date: (.+)$/m.exec(text)?.[1] ?? "") / 1000;
const dateOf = async (served: ServedFolder): Promise<number> => dateIn(await served.text(release));

/** A repository with a clock, in seconds since the epoch, that the test sets. */
class Timed {
  nowSeconds = noon;
  readonly served: ServedFolder;
  #count = 0;

  constructor(options: ServedFolderOptions = {}) {
    this.served = new ServedFolder({ ...options, now: () => this.nowSeconds * 1000 });
  }

  /** Uploads another package, linked at the given time, and pings. @returns the Date of Release, in seconds */
  async upload(linkedAtSeconds = this.nowSeconds): Promise<number> {
    this.#count += 1;
    const name = `p${this.#count}`;
    this.served.put(`${amd64}/${name}.deb`, await aDeb({ package: name, architecture: "amd64" }), linkedAtSeconds);
    await this.served.ping();
    return await dateOf(this.served);
  }

  async lastModified(path: string): Promise<number> {
    const resource = await this.served.repository.find(path, new AbortController());
    return resource?.lastModifiedSeconds ?? Number.NaN;
  }
}

test("Date is the newest link time minus the lag, however old the link is, and increases with later links", async () => {
  const timed = new Timed();
  const years = 3 * 365 * 24 * 3600;
  expect(await timed.upload(noon - years)).toBe(noon - years - defaultDateLagSeconds);
  expect(await timed.upload(noon - 5)).toBe(noon - 5 - defaultDateLagSeconds);
  timed.nowSeconds += 3600;
  expect(await timed.upload()).toBe(noon + 3600 - defaultDateLagSeconds);
});

test("thirty uploads in fifteen seconds each get their own Date at once, at least twenty seconds behind the clock", async () => {
  const timed = new Timed();
  const dates: number[] = [];
  for (let n = 0; n < 30; n++) {
    const date = await timed.upload();
    dates.push(date);
    expect(timed.nowSeconds - date).toBeGreaterThan(20);
    expect(waitForDateMs(date, timed.nowSeconds * 1000)).toBe(0);
    timed.nowSeconds += 0.5;
  }
  expect(dates).toEqual(dates.toSorted((a, b) => a - b));
  expect(new Set(dates).size).toBe(30);
});

test("a burst that has used up the lag waits exactly until its Date is ten seconds behind the clock", () => {
  const order = { newestLinkMs: noon * 1000, nowMs: noon * 1000, lagSeconds: defaultDateLagSeconds };
  let lastSeconds: number | undefined;
  const freely = defaultDateLagSeconds - minDateLagSeconds + 1;
  for (let n = 0; n < freely; n++) {
    lastSeconds = nextDate({ ...order, lastSeconds });
    expect(waitForDateMs(lastSeconds, noon * 1000)).toBe(0);
  }
  const next = nextDate({ ...order, lastSeconds });
  expect(waitForDateMs(next, noon * 1000)).toBe(1000);
  expect(waitForDateMs(next, (noon + 1) * 1000)).toBe(0);
});

test("a link time in the future counts as the current time", async () => {
  const timed = new Timed();
  expect(await timed.upload(noon + 24 * 3600)).toBe(noon - defaultDateLagSeconds);
});

test("the Date of a suite without packages follows the clock, and a removal increases Date by one second", async () => {
  const timed = new Timed();
  const { served } = timed;
  served.makeDirectory(amd64);
  await served.ping();
  expect(await dateOf(served)).toBe(noon - defaultDateLagSeconds);
  timed.nowSeconds += 100;
  const before = await timed.upload();
  served.remove(`${amd64}/p1.deb`);
  timed.nowSeconds += 100;
  await served.ping();
  expect(await dateOf(served)).toBe(before + 1);
});

test("while the clock is ahead, the removal of the last package and a rollback do not take their Dates from it", async () => {
  const timed = new Timed();
  const { served } = timed;
  const first = await timed.upload();
  served.remove(`${amd64}/p1.deb`);
  const ahead = { now: () => (noon + 2 * 3600) * 1000 };
  await served.restart(ahead);
  await served.ping();
  expect(await served.text(`${amd64}/Packages`)).toBe("");
  expect(await dateOf(served)).toBe(first + 1);
  const [, old] = [...served.repository.snapshots()];
  await served.repository.snapshotControl.rollBack(sid, old?.id ?? "");
  expect(await served.text(`${amd64}/Packages`)).toContain("Package: p1\n");
  expect(await dateOf(served)).toBe(first + 2);
});

test("the lag is configurable, and two servers of one tree publish the same Release without communicating", async () => {
  const [one, other, soon] = [new Timed(), new Timed(), new Timed({ dateLagSeconds: minDateLagSeconds })];
  for (const timed of [one, other, soon]) await timed.upload(noon - 1000);
  other.nowSeconds += 300;
  for (const timed of [one, other, soon]) await timed.upload(noon - 7);
  expect(await one.served.text(release)).toBe(await other.served.text(release));
  expect(await one.lastModified(inRelease)).toBe(await other.lastModified(inRelease));
  expect(await dateOf(one.served)).toBe(noon - 7 - defaultDateLagSeconds);
  expect(await dateOf(soon.served)).toBe(noon - 7 - minDateLagSeconds);
});

test("Valid-Until is relative to the current time, and a first Release with Valid-Until has a current Date", async () => {
  const timed = new Timed({ validForSeconds: 7200 });
  expect(await timed.upload(noon - 24 * 3600)).toBe(noon - defaultDateLagSeconds);
  const until = /^Valid-Until: (.+)$/m.exec(await timed.served.text(release))?.[1] ?? "";
  expect(Date.parse(until) / 1000).toBe(noon + 7200);
});

test("after the clock is set back, a change fails without waiting, and is published once the clock is right", async () => {
  const timed = new Timed();
  const { served } = timed;
  served.makeDirectory(amd64);
  await served.ping();
  const before = await served.text(inRelease);

  timed.nowSeconds -= 2 * 3600;
  await expect(timed.upload()).rejects.toMatchObject({ code: "publishing/clock-behind" });
  expect(await served.text(inRelease)).toBe(before);
  expect(served.repository.status().lastError).toContain("10:00:00");

  timed.nowSeconds = noon + 1;
  await served.ping();
  expect(await served.text(`${amd64}/Packages`)).toContain("Package: p1\n");
  expect(await dateOf(served)).toBe(dateIn(before) + 1);
});

test("after a Date that is too close to the clock, the next publication waits until its Date lags behind the clock", async () => {
  const timed = new Timed({ datesAfterSeconds: noon - 9 });
  const beganMs = performance.now();
  expect(await timed.upload()).toBe(noon - 8);
  expect(performance.now() - beganMs).toBeGreaterThan(1900);
});

test("after the state is lost, every Date is later than the configured one", async () => {
  const options = { now: () => (noon + 60) * 1000 };
  const served = new ServedFolder(options);
  served.put(`${amd64}/a.deb`, await aDeb({ package: "a", architecture: "amd64" }));
  await served.ping();
  expect(await dateOf(served)).toBe(1_700_000_000 - defaultDateLagSeconds);
  await served.restart({ ...options, datesAfterSeconds: noon });
  await served.ping();
  expect(await dateOf(served)).toBe(noon + 1);
  await served.ping();
  expect(await dateOf(served)).toBe(noon + 1);
});

/** A fake signer that only appends its fingerprint. */
const signerNamed = (fingerprint: string): Signer => ({
  publicKey: fingerprint,
  publicKeyBytes: Buffer.from(fingerprint),
  keys: [{ fingerprint, signingFingerprint: fingerprint, expiresAtSeconds: undefined, changedAtSeconds: 0 }],
  sign: async (text) => ({ inRelease: `${text}by ${fingerprint}\n`, releaseGpg: fingerprint }),
});

test("Last-Modified increases with Date, is never later than Date, and differs for other bytes with the same Date", async () => {
  const timed = new Timed({ signer: signerNamed("A") });
  const seen: number[] = [];
  for (let n = 0; n < 5; n++) {
    const date = await timed.upload();
    seen.push(await timed.lastModified(inRelease));
    expect(seen.at(-1)).toBeLessThanOrEqual(date);
    for (const path of [release, "dists/sid/Release.gpg", `${amd64}/Packages`]) {
      expect(await timed.lastModified(path)).toBe(seen.at(-1));
    }
  }
  expect(seen).toEqual([0, 1, 2, 3, 4].map((n) => (seen[0] ?? 0) + n));
  // The state and the key are lost, another key is generated, and later the first key is restored without the state.
  const changes: readonly ServedFolderOptions[] = [
    { signer: signerNamed("B") },
    { signer: signerNamed("A"), identity: { label: "Another" } },
    { signer: signerNamed("A") },
  ];
  const same: number[] = [];
  for (const options of changes) {
    const lost = new Timed(options);
    await lost.upload();
    expect(await dateOf(lost.served)).toBe(noon - defaultDateLagSeconds);
    same.push(await lost.lastModified(inRelease));
  }
  expect(new Set(same).size).toBe(3);
  expect(same[2]).toBe(seen[0]);
});

test("if the key is lost and later restored while the state is kept, each change of the key gives a new Date", async () => {
  const timed = new Timed({ signer: signerNamed("A") });
  const { served } = timed;
  const first = await timed.upload();
  for (const [n, name] of ["B", "A"].entries()) {
    await served.restart({ signer: signerNamed(name), now: () => noon * 1000 });
    await served.ping();
    expect(await dateOf(served)).toBe(first + n + 1);
  }
});

test("a publication records since when it is served, and a time selects the publication that was served then", async () => {
  const timed = new Timed();
  const { served } = timed;
  const old = noon - 10 * 24 * 3600;
  await timed.upload(old);
  timed.nowSeconds += 600;
  await timed.upload(old + 100);
  const kept = [...served.repository.snapshots()];
  expect(kept.map(({ servedSeconds }) => servedSeconds)).toEqual([noon + 600, noon]);
  await served.restart();
  const moment = (seconds: number) => `${new Date(seconds * 1000).toISOString().slice(0, 19).replaceAll(/[-:]/g, "")}Z`;
  const packagesAt = async (when: string) => {
    const text = (await served.bytes(`snapshots/${when}/${amd64}/Packages`))?.toString();
    return text && [...text.matchAll(/^Package: (.*)$/gm)].map(([, name]) => name);
  };
  expect(await packagesAt(moment(noon - 1)), "nothing was served before").toBeUndefined();
  expect(await packagesAt(moment(noon))).toEqual(["p1"]);
  expect(await packagesAt(moment(noon + 599))).toEqual(["p1"]);
  expect(await packagesAt(moment(noon + 600))).toEqual(["p1", "p2"]);
  expect(await packagesAt(kept[1]?.id ?? ""), "by its own id, which is made of its Date").toEqual(["p1"]);
  expect(await served.repository.snapshotControl.pin(sid, moment(noon + 1), "good")).toBe(kept[1]?.id);
});
