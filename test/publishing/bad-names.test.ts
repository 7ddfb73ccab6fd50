// Names of files that an index can't carry so that every program reads the same.
import { expect, test } from "vitest";
import { aDeb, aDsc } from "../support/debs.ts";
import { packageNames, ServedFolder, sha256 } from "../support/served-folder.ts";

const amd64 = "dists/sid/main/binary-amd64";
const source = "dists/sid/main/source";

test("a package whose name has a line separator in it is rejected, and one with a blank is served", async () => {
  const served = new ServedFolder();
  const blank = await aDeb({ package: "blank" });
  served.put(`${amd64}/with a blank.deb`, blank);
  served.put(`${amd64}/with\u2028a separator.deb`, await aDeb({ package: "separator" }));
  const { rejected } = await served.ping();
  expect(rejected).toMatchObject([{ path: `${amd64}/with\u2028a separator.deb`, code: "bad-name" }]);
  expect(await packageNames(served)).toEqual(["blank 1.0-1"]);
  const [, path = ""] = /^Filename: (.+)$/m.exec(await served.text(`${amd64}/Packages`)) ?? [];
  expect((await served.bytes(path))?.equals(blank)).toBe(true);
});

test("a source package with white space in a file's name is rejected, and others keep their lists", async () => {
  const served = new ServedFolder();
  const good = aDsc({ source: "good" });
  for (const [name, bytes] of good.files) served.put(`${source}/good/${name}`, bytes);
  const blank = aDsc({ source: "blank" });
  for (const [name, bytes] of blank.files) {
    served.put(`${source}/bad/${name.endsWith(".dsc") ? "a blank.dsc" : name}`, bytes);
  }
  const wide = aDsc({ source: "wide", parts: { "wide\u00a0part.tar.xz": "a part" } });
  for (const [name, bytes] of wide.files) served.put(`${source}/bad/${name}`, bytes);
  const { rejected } = await served.ping();
  expect(rejected.map(({ path, code }) => [path, code])).toEqual([
    [`${source}/bad/a blank.dsc`, "bad-name"],
    [`${source}/bad/wide_1.0-1.dsc`, "bad-name"],
  ]);
  expect([...(await served.text(`${source}/Sources`)).matchAll(/^Package: (.*)$/gm)].map(([, name]) => name)).toEqual([
    "good",
  ]);
});

test("a package whose name has an escape in it is found by that name, and by what it means", async () => {
  const served = new ServedFolder();
  const deb = await aDeb({ package: "it", version: "1:2", architecture: "amd64" });
  served.put(`${amd64}/it_1%3a2_amd64.deb`, deb);
  served.put(`${amd64}/odd_%zz.deb`, await aDeb({ package: "odd", architecture: "amd64" }));
  await served.ping();
  const directory = `pool/SHA256/${sha256(deb)}`;
  expect(await served.text(`${amd64}/Packages`)).toContain(`\nFilename: ${directory}/it_1%3a2_amd64.deb\n`);
  expect(await served.bytes(`${directory}/it_1%3a2_amd64.deb`)).toEqual(deb);
  expect(await served.bytes(`${directory}/it_1:2_amd64.deb`)).toEqual(deb);
  expect(await served.bytes(`${directory}/it_1:3_amd64.deb`)).toBeUndefined();
});

test.each([
  ["a package", `pool/SHA256/${sha256("")}/${"a".repeat(8000)}.deb`],
  ["a package of a snapshot", `snapshots/20260101T000000Z/pool/SHA256/${sha256("")}/${"a".repeat(8000)}.deb`],
  ["an index by hash", `${amd64}/by-hash/SHA256/${"a".repeat(8000)}`],
  ["a patch", `dists/sid/${"a".repeat(8000)}.diff/${sha256("")}.gz`],
])("%s under a name that is too long for any is nowhere", async (_what, path) => {
  const served = new ServedFolder();
  served.put(`${amd64}/it.deb`, await aDeb({ package: "it" }));
  await served.ping();
  expect(await served.bytes(path)).toBeUndefined();
});
