// File names that apt and other programs would parse differently in an index.
import { expect, test } from "vitest";
import { FetchableTree } from "../../../src/catalog/suite/fetchable-names.ts";
import { aDeb, aDsc } from "../../support/debs.ts";
import { packageNames, ServedFolder, sha256 } from "../../support/served-folder.ts";

const amd64 = "dists/sid/main/binary-amd64";
const source = "dists/sid/main/source";

test("a package file with a line separator in its name is rejected, and one with a space is served", async () => {
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

test("a source package with white space in a file name is rejected, and other source packages are listed correctly", async () => {
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

test("a package file with a percent escape in its name is served under the escaped and the decoded name", async () => {
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
])("%s with a file name longer than any file system allows is not found", async (_what, path) => {
  const served = new ServedFolder();
  served.put(`${amd64}/it.deb`, await aDeb({ package: "it" }));
  await served.ping();
  expect(await served.bytes(path)).toBeUndefined();
});

test("a package file name that apt cannot request is replaced, and a source package with such files is rejected", async () => {
  const served = new ServedFolder();
  for (const name of ["a?b#c.deb", '"[x]".deb', "plain%3f.deb"]) {
    const deb = await aDeb({ package: `p${name.length}${name.startsWith("a") ? "a" : ""}`, architecture: "amd64" });
    served.put(`${amd64}/${name}`, deb);
  }
  const odd = aDsc({ source: "odd", parts: { "odd_1.0?.tar.xz": "a part" } });
  for (const [name, bytes] of odd.files) served.put(`${source}/${name}`, bytes);
  const { rejected } = await served.ping();
  expect(rejected).toMatchObject([{ path: `${source}/odd_1.0-1.dsc`, code: "bad-name" }]);
  expect(rejected[0]?.reason).toContain("apt cannot fetch a path with ? in it");
  const paths = [...(await served.text(`${amd64}/Packages`)).matchAll(/^Filename: (.*)$/gm)].map(
    ([, path = ""]) => path,
  );
  expect(paths.map((path) => path.split("/").at(-1) ?? "").toSorted()).toEqual([
    "__x__.deb",
    "a_b_c.deb",
    "plain%3f.deb",
  ]);
  for (const path of paths) expect(sha256((await served.bytes(path)) ?? "")).toBe(path.split("/").at(-2));
});

test("a directory binary-any adds no architecture to Release", async () => {
  const served = new ServedFolder();
  served.put("dists/sid/main/binary-any/it.deb", await aDeb({ package: "it" }));
  served.put(`${amd64}/other.deb`, await aDeb({ package: "other" }));
  await served.ping();
  expect(await served.text("dists/sid/Release")).toMatch(/^Architectures: amd64$/m);
});

test("if clients request the paths of the tree, files that apt cannot request are rejected with the reason", async () => {
  const served = new ServedFolder({ wrap: (tree) => new FetchableTree(tree) });
  served.put(`${amd64}/a?b.deb`, await aDeb({ package: "one" }));
  served.put(`${amd64}/who?/two.deb`, await aDeb({ package: "two" }));
  served.put(`${amd64}/good.deb`, await aDeb({ package: "good" }));
  const { rejected } = await served.ping();
  expect(rejected).toEqual(
    [`${amd64}/a?b.deb`, `${amd64}/who?/two.deb`].map((path) => ({
      path,
      code: "not-a-file",
      reason: "apt cannot fetch a path with ? in it",
    })),
  );
  expect(await packageNames(served)).toEqual(["good 1.0-1"]);
});
