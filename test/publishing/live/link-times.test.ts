// A link time in the future takes precedence over no other link, on any replica, until that time is reached.
import { expect, test } from "vitest";
import { maxClockSkewMs } from "../../../src/storage/link-times.ts";
import { aDeb } from "../../support/debs.ts";
import { packageNames, ServedFolder } from "../../support/served-folder.ts";

const amd64 = "dists/sid/main/binary-amd64";
const nowSeconds = 1_750_000_000;
const year2099 = 4_073_000_000;

const hello = (description: string, fields: Record<string, string> = {}) =>
  aDeb({ version: "1.0-1", architecture: "amd64", fields: { Description: description, ...fields } });

const rejected = (served: ServedFolder) =>
  served.repository.status().rejected.map(({ path, code, reason }) => `${path} ${code} ${reason}`);
const packages = (served: ServedFolder) => served.text(`${amd64}/Packages`);

test("of two files with the same package and version, a link time in 2099 loses, whichever was uploaded first", async () => {
  const served = new ServedFolder({ now: () => nowSeconds * 1000 });
  served.put(`${amd64}/bob/hello.deb`, await hello("forged"), year2099);
  await served.ping();
  expect(await packages(served)).toContain("forged");
  served.put(`${amd64}/alice/hello.deb`, await hello("honest"), nowSeconds - 1000);
  await served.ping();
  expect(await packages(served)).toContain("honest");
  expect(await packages(served)).not.toContain("forged");
  expect(rejected(served)).toEqual([expect.stringContaining(`${amd64}/bob/hello.deb conflict`)]);
  expect(rejected(served)[0]).toContain("a file whose link time is unknown or in the future counts as the oldest");

  const replica = new ServedFolder({ now: () => nowSeconds * 1000 });
  replica.put(`${amd64}/alice/hello.deb`, await hello("honest"), nowSeconds - 1000);
  replica.put(`${amd64}/bob/hello.deb`, await hello("forged"), year2099);
  await replica.ping();
  expect(await packages(replica)).toBe(await packages(served));
});

test("the newest link wins, also if the uploader's clock is slightly ahead", async () => {
  const served = new ServedFolder({ now: () => nowSeconds * 1000 });
  served.put(`${amd64}/alice/hello.deb`, await hello("earlier"), nowSeconds - 1000);
  served.put(`${amd64}/bob/hello.deb`, await hello("later"), nowSeconds + maxClockSkewMs / 1000 - 1);
  await served.ping();
  expect(await packages(served)).toContain("later");
});

test("an entry with a link time of tomorrow takes effect tomorrow, once and permanently", async () => {
  let now = nowSeconds;
  const served = new ServedFolder({ now: () => now * 1000 });
  const tomorrow = nowSeconds + 24 * 3600;
  served.put(`${amd64}/alice/hello.deb`, await hello("today"), nowSeconds - 1000);
  served.put(`${amd64}/bob/hello.deb`, await hello("tomorrow"), tomorrow);
  const seen: string[] = [];
  for (now of [nowSeconds, nowSeconds + 3600, tomorrow - 3600, tomorrow, tomorrow + 3600, tomorrow + 24 * 3600]) {
    await served.ping();
    seen.push(/Description: (\w+)/.exec(await packages(served))?.[1] ?? "");
  }
  expect(seen).toEqual(["today", "today", "today", "tomorrow", "tomorrow", "tomorrow"]);
});

test("an entry with a future link time is first in the index, and moves to its place when its time is reached", async () => {
  let now = nowSeconds;
  const served = new ServedFolder({ now: () => now * 1000 });
  const deb = (name: string) => aDeb({ package: name, version: "1", architecture: "amd64" });
  const tomorrow = nowSeconds + 24 * 3600;
  served.put(`${amd64}/old.deb`, await deb("old"), nowSeconds - 1000);
  served.put(`${amd64}/future.deb`, await deb("future"), tomorrow);
  const order = async () =>
    [...(await packages(served)).matchAll(/^Package: (.*)$/gm)].map(([, name]) => name).join(" ");
  await served.ping();
  expect(await order()).toBe("future old");
  served.put(`${amd64}/new.deb`, await deb("new"), nowSeconds);
  await served.ping();
  expect(await order()).toBe("future old new");
  now = tomorrow;
  await served.ping();
  expect(await order()).toBe("old new future");
  expect(await packageNames(served)).toHaveLength(3);
});

test("the Date of Release ignores a future link time, and is not ahead of the clock when that time is reached", async () => {
  let now = nowSeconds;
  const served = new ServedFolder({ now: () => now * 1000 });
  const date = async () => Date.parse(/^Date: (.+)$/m.exec(await served.text("dists/sid/Release"))?.[1] ?? "") / 1000;
  served.put(`${amd64}/a.deb`, await hello("a"), nowSeconds - 1000);
  await served.ping();
  const before = await date();
  served.put(`${amd64}/b.deb`, await aDeb({ package: "b", architecture: "amd64" }), year2099);
  await served.ping();
  expect(await date()).toBe(before + 1);
  now = year2099;
  await served.ping();
  expect(await date()).toBeLessThanOrEqual(year2099);
});

test("a copy with the same bytes and a future link time does not replace the first one", async () => {
  const served = new ServedFolder({ now: () => nowSeconds * 1000 });
  const bytes = await hello("same");
  served.put(`${amd64}/bob/hello.deb`, bytes, nowSeconds - 1000);
  await served.ping();
  const [before] = served.repository.status().suites;
  served.put(`${amd64}/alice/hello.deb`, bytes, year2099);
  await served.ping();
  expect(served.repository.status().suites[0]).toEqual(before);
});
