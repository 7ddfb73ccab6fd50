// A suite with a view: hidden packages are not in the index but can be downloaded, and age alone can hide a package.
import { afterEach, expect, test, vi } from "vitest";
import { aDeb } from "../../support/debs.ts";
import { packageNames, ServedFolder, sha256 } from "../../support/served-folder.ts";

const amd64 = "dists/sid/main/binary-amd64";
const daySeconds = 24 * 3600;

const hello = (version: string) => aDeb({ version, architecture: "amd64" });

afterEach(() => {
  vi.useRealTimers();
});

test("an older version is hidden by a newer one, can still be downloaded, and is listed again when the newer one is removed", async () => {
  const served = new ServedFolder({ view: { newest: 1 } });
  const old = await hello("1.0-1");
  served.put(`${amd64}/old.deb`, old);
  await served.ping();
  expect(await packageNames(served)).toEqual(["hello 1.0-1"]);
  served.put(`${amd64}/new.deb`, await hello("1.0-2"), 1_700_000_001);
  await served.ping();
  expect(await packageNames(served)).toEqual(["hello 1.0-2"]);
  expect(served.repository.status().suites[0]?.binaryPackages).toBe(1);
  expect(await served.bytes(`${amd64}/old.deb`)).toEqual(old);
  expect(await served.bytes(`pool/SHA256/${sha256(old)}/old.deb`)).toEqual(old);
  served.remove(`${amd64}/new.deb`);
  await served.ping();
  expect(await packageNames(served)).toEqual(["hello 1.0-1"]);
});

test("an upload that the view hides causes no publication", async () => {
  const served = new ServedFolder({ view: { hide: ["*-dbgsym"] } });
  served.put(`${amd64}/a.deb`, await hello("1.0-1"));
  await served.ping();
  const before = await served.text("dists/sid/Release");
  served.put(`${amd64}/b.deb`, await aDeb({ package: "hello-dbgsym", architecture: "amd64" }), 1_700_000_001);
  await served.ping();
  expect(await served.text("dists/sid/Release")).toBe(before);
});

test("a changed view takes effect after a restart, and without a view all packages are listed", async () => {
  const served = new ServedFolder({ view: { newest: 1 } });
  for (const [at, version] of ["1", "2", "3"].entries())
    served.put(`${amd64}/${version}.deb`, await hello(version), 1_700_000_000 + at);
  await served.ping();
  expect(await packageNames(served)).toEqual(["hello 3"]);
  await served.restart({ view: { newest: 2 } });
  await served.ping();
  expect(await packageNames(served)).toEqual(["hello 2", "hello 3"]);
  await served.restart({});
  await served.ping();
  expect(await packageNames(served)).toEqual(["hello 1", "hello 2", "hello 3"]);
});

test("a package that becomes too old is removed from the index without a ping or a poll", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  let nowMs = 1_700_000_000_000;
  const served = new ServedFolder({ view: { maxAgeSeconds: daySeconds }, now: () => nowMs });
  served.put(`${amd64}/old.deb`, await aDeb({ package: "old", architecture: "amd64" }), nowMs / 1000 - 23 * 3600);
  served.put(`${amd64}/new.deb`, await aDeb({ package: "new", architecture: "amd64" }), nowMs / 1000);
  void served.repository.start(daySeconds);
  await served.ping();
  vi.advanceTimersByTime(60_000);
  await served.ping("dists/other");
  expect(await packageNames(served)).toEqual(["old 1.0-1", "new 1.0-1"]);
  nowMs += 2 * 3600 * 1000;
  vi.advanceTimersByTime(60_000);
  // This ping of another path runs after the work of the timer, and does not list this suite.
  await served.ping("dists/other");
  expect(await packageNames(served)).toEqual(["new 1.0-1"]);
});
