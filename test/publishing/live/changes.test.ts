// Changes that could be lost between a listing and a publication.
import { utimesSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Tree } from "../../../src/storage/tree.ts";
import { StorageUnavailable } from "../../../src/storage/tree.ts";
import { aDeb, aDsc } from "../../support/debs.ts";
import { ServedFolder, sha256 } from "../../support/served-folder.ts";

const amd64 = "dists/sid/main/binary-amd64";
const source = "dists/sid/main/source";

const namesIn = async (served: ServedFolder): Promise<string[]> =>
  [...(await served.text(`${amd64}/Packages`)).matchAll(/^Package: (.*)$/gm)].map(([, name = ""]) => name);

test("files that were replaced by identical copies can still be downloaded", async () => {
  const served = new ServedFolder();
  const deb = await aDeb({ package: "a", architecture: "amd64" });
  const { dsc, files } = aDsc({ source: "s" });
  const copyAll = (): void => {
    served.put(`${amd64}/a.deb`, deb);
    for (const [name, bytes] of files) served.put(`${source}/${name}`, bytes);
  };
  copyAll();
  await served.ping();
  const before = await served.text("dists/sid/Release");
  copyAll();
  await served.ping();
  expect(await served.text("dists/sid/Release")).toBe(before);
  expect(await served.bytes(`pool/SHA256/${sha256(deb)}/a.deb`)).toEqual(deb);
  for (const [name, bytes] of files) {
    expect(await served.bytes(`pool/SHA256/${sha256(files.get(dsc)!)}/${name}`)).toEqual(bytes);
  }
});

test("a path that cannot be read fails only the ping of this path, and is published when it can be read", async () => {
  let unreadable = false;
  let held = Promise.resolve();
  const failing = (tree: Tree): Tree => ({
    look: async (path, signal) => {
      await held;
      if (unreadable && path === `${amd64}/two`) {
        throw new StorageUnavailable(path, "the grid is down", { transient: true });
      }
      return await tree.look(path, signal);
    },
    open: (file, range, signal) => tree.open(file, range, signal),
  });
  const served = new ServedFolder({ wrap: failing });
  for (const builder of ["one", "two"]) served.makeDirectory(`${amd64}/${builder}`);
  await served.ping();
  served.put(`${amd64}/one/a.deb`, await aDeb({ package: "a", architecture: "amd64" }));
  served.put(`${amd64}/two/b.deb`, await aDeb({ package: "b", architecture: "amd64" }));

  unreadable = true;
  let goOn = (): void => {};
  held = new Promise((resolve) => {
    goOn = resolve;
  });
  const first = served.ping(`${amd64}/one/none`);
  await new Promise((resolve) => setImmediate(resolve));
  const results = Promise.allSettled([served.ping(`${amd64}/one`), served.ping(`${amd64}/two`)]);
  goOn();
  await first;
  expect((await results).map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
  expect(await namesIn(served)).toEqual(["a"]);

  unreadable = false;
  await served.ping();
  expect((await namesIn(served)).toSorted()).toEqual(["a", "b"]);
});

test("a package that moved to another directory can change again after old publications were dropped", async () => {
  let nowMs = 1_750_000_000_000;
  const served = new ServedFolder({ now: () => nowMs });
  for (let n = 0; n < 30; n++) {
    served.put(`${amd64}/p${n}.deb`, await aDeb({ package: `p${n}`, architecture: "amd64" }), 1_700_000_000 + n);
  }
  await served.ping();
  served.put(`${amd64}/q.deb`, await aDeb({ package: "q", architecture: "amd64" }), 1_700_000_100);
  await served.ping();

  const before = await served.text("dists/sid/Release");
  served.put(`${amd64}/elsewhere/p20.deb`, (await served.bytes(`${amd64}/p20.deb`))!, 1_700_000_020);
  served.remove(`${amd64}/p20.deb`);
  await served.ping();
  expect(await served.text("dists/sid/Release")).toBe(before);
  nowMs += 8 * 24 * 3600 * 1000;
  await served.ping();

  utimesSync(join(served.folder, `${amd64}/p1.deb`), 1_600_000_000, 1_600_000_000);
  await served.ping();
  expect((await namesIn(served)).slice(0, 2)).toEqual(["p1", "p0"]);
  await expect(served.text(`${amd64}/Packages.xz`)).resolves.toBeDefined();
});
