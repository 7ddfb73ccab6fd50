// The changes that the list of snapshots shows: packages that were added or removed since the previous snapshot.
import { expect, test } from "vitest";
import type { ListedPackage } from "../../../src/publishing/build/publication-changes.ts";
import { aDeb } from "../../support/debs.ts";
import { ServedFolder } from "../../support/served-folder.ts";

const amd64 = "dists/sid/main/binary-amd64";
const inShort = (listed: readonly ListedPackage[] | undefined) =>
  listed?.map((one) => `${one.component} ${one.package} ${one.version} ${one.architecture}`);

async function changesOf(served: ServedFolder) {
  const found = [];
  for await (const { changes, binaryPackages } of served.repository.snapshotControl.described())
    found.push([binaryPackages, inShort(changes?.added), inShort(changes?.removed)]);
  return found;
}

test("each snapshot is compared with the previous one, newest first, and the oldest with none", async () => {
  const served = new ServedFolder();
  served.put(`${amd64}/a.deb`, await aDeb({ package: "a", version: "1" }), 1_700_000_000);
  served.put(`${amd64}/b.deb`, await aDeb({ package: "b", version: "1", architecture: "amd64" }), 1_700_000_001);
  await served.ping();
  served.put(`${amd64}/c.deb`, await aDeb({ package: "c", version: "1", architecture: "amd64" }), 1_700_000_002);
  await served.ping();
  served.put(`${amd64}/b.deb`, await aDeb({ package: "b", version: "2", architecture: "amd64" }), 1_700_000_003);
  served.remove(`${amd64}/a.deb`);
  await served.ping();
  expect(await changesOf(served)).toEqual([
    [2, ["main b 2 amd64"], ["main a 1 all", "main b 1 amd64"]],
    [3, ["main c 1 amd64"], []],
    [2, undefined, undefined],
  ]);
});

test("snapshots of different suites are not compared", async () => {
  const served = new ServedFolder();
  for (const suite of ["sid", "trixie"])
    served.put(`dists/${suite}/main/binary-amd64/x.deb`, await aDeb({ package: `in-${suite}` }), 1_700_000_000);
  await served.ping();
  expect(await changesOf(served)).toEqual([
    [1, undefined, undefined],
    [1, undefined, undefined],
  ]);
});
