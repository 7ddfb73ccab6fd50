// A repository publishes the files of its tree in indices and serves them.
import { gunzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { aDeb, runTool } from "../../support/debs.ts";
import { packageNames, ServedFolder, sha256 } from "../../support/served-folder.ts";

const amd64 = "dists/sid/main/binary-amd64";

test("after an upload and a ping, the package is in the index and can be downloaded by its Filename", async () => {
  const served = new ServedFolder();
  const deb = await aDeb({ package: "hello", version: "1.0-1", architecture: "amd64" });
  served.put(`${amd64}/builder/hello_1.0-1_amd64.deb`, deb);

  const outcome = await served.ping(`${amd64}/builder`);

  expect(outcome.added).toEqual([`${amd64}/builder/hello_1.0-1_amd64.deb`]);
  expect(outcome.publications.map(({ suite }) => suite)).toEqual(["sid"]);
  const packages = await served.text(`${amd64}/Packages`);
  expect(packages).toContain(`Filename: pool/SHA256/${sha256(deb)}/hello_1.0-1_amd64.deb\n`);
  expect(await served.bytes(`pool/SHA256/${sha256(deb)}/hello_1.0-1_amd64.deb`)).toEqual(deb);
  expect(await served.bytes(`${amd64}/builder/hello_1.0-1_amd64.deb`)).toEqual(deb);
  await served.ping();
  expect(await served.bytes(`pool/SHA256/${sha256(deb)}/other_1.0-1_amd64.deb`)).toBeUndefined();
});

test("all compressed forms of an index contain the same text, and Release lists each with its size and hash", async () => {
  const served = new ServedFolder();
  for (let n = 0; n < 60; n++) {
    served.put(`${amd64}/p${n}.deb`, await aDeb({ package: `p${n}`, architecture: "amd64" }), 1_700_000_000 + n);
  }
  await served.ping();
  const release = await served.text("dists/sid/Release");
  const plain = await served.text(`${amd64}/Packages`);
  const gz = (await served.bytes(`${amd64}/Packages.gz`)) as Buffer;
  const xz = (await served.bytes(`${amd64}/Packages.xz`)) as Buffer;
  expect(gunzipSync(gz).toString()).toBe(plain);
  expect(runTool("xz", ["-dc"], xz, "xz-utils").toString()).toBe(plain);
  for (const [name, bytes] of [
    ["Packages", Buffer.from(plain)],
    ["Packages.gz", gz],
    ["Packages.xz", xz],
  ] as const) {
    expect(release).toContain(` ${sha256(bytes)} ${bytes.length} main/binary-amd64/${name}\n`);
    expect(await served.bytes(`${amd64}/by-hash/SHA256/${sha256(bytes)}`)).toEqual(bytes);
  }
});

test("a package with Architecture: all is in each index, and one for a different architecture is rejected", async () => {
  const served = new ServedFolder();
  served.put(`${amd64}/all.deb`, await aDeb({ package: "everywhere", architecture: "all" }));
  served.put("dists/sid/main/binary-arm64/one.deb", await aDeb({ package: "one", architecture: "arm64" }));
  served.put(`${amd64}/lost.deb`, await aDeb({ package: "lost", architecture: "arm64" }));
  const { rejected } = await served.ping();
  expect(await packageNames(served)).toEqual(["everywhere 1.0-1"]);
  expect((await packageNames(served, "dists/sid/main/binary-arm64/Packages")).toSorted()).toEqual([
    "everywhere 1.0-1",
    "one 1.0-1",
  ]);
  expect(rejected).toEqual([
    { path: `${amd64}/lost.deb`, code: "wrong-place", reason: "a package for arm64 in binary-amd64" },
  ]);
  expect(await served.text("dists/sid/Release")).toContain("\nArchitectures: amd64 arm64\n");
});

test("a broken package is rejected and does not affect the other packages of the suite", async () => {
  const served = new ServedFolder();
  const good = await aDeb({ package: "good", architecture: "amd64" });
  served.put(`${amd64}/good.deb`, good);
  served.put(`${amd64}/cut.deb`, good.subarray(0, good.length - 40));
  served.put(`${amd64}/text.deb`, "this is no package\n");
  const { rejected } = await served.ping();
  expect(await packageNames(served)).toEqual(["good 1.0-1"]);
  expect(rejected.map(({ path, code }) => [path, code])).toEqual([
    [`${amd64}/cut.deb`, "truncated"],
    [`${amd64}/text.deb`, "not-a-deb"],
  ]);
  expect(served.repository.status().rejected).toHaveLength(2);
});

test("package names are not case-sensitive, as in apt and dpkg", async () => {
  const served = new ServedFolder();
  served.put(`${amd64}/hello.deb`, await aDeb({ package: "hello", architecture: "amd64" }), 1_700_000_000);
  served.put(`${amd64}/Hello.deb`, await aDeb({ package: "Hello", architecture: "amd64" }), 1_700_000_001);
  const outcome = await served.ping();
  expect(outcome.rejected.map(({ path, code }) => [path, code])).toEqual([[`${amd64}/hello.deb`, "conflict"]]);
  expect((await served.text(`${amd64}/Packages`)).match(/^Package: .*$/gm)).toEqual(["Package: Hello"]);
});

test("the newest link of the same package and version wins, and the conflict is reported until it is resolved", async () => {
  const served = new ServedFolder();
  const older = await aDeb({ package: "twice", architecture: "amd64", files: { "./a": "1" } });
  const newer = await aDeb({ package: "twice", architecture: "amd64", files: { "./a": "2" } });
  served.put(`${amd64}/one/twice.deb`, older, 1_700_000_000);
  served.put(`${amd64}/two/twice.deb`, newer, 1_700_000_100);
  const outcome = await served.ping();
  expect(outcome.rejected.map(({ path, code }) => [path, code])).toEqual([[`${amd64}/one/twice.deb`, "conflict"]]);
  expect(await served.text(`${amd64}/Packages`)).toContain(sha256(newer));
  served.remove(`${amd64}/two/twice.deb`);
  expect((await served.ping()).rejected).toEqual([]);
  expect(await served.text(`${amd64}/Packages`)).toContain(sha256(older));
});

test("identical files at two paths are one index entry", async () => {
  const served = new ServedFolder();
  const deb = await aDeb({ package: "same", architecture: "amd64" });
  served.put(`${amd64}/one/same.deb`, deb);
  served.put(`${amd64}/two/same.deb`, deb, 1_700_000_050);
  expect((await served.ping()).rejected).toEqual([]);
  expect(await packageNames(served)).toEqual(["same 1.0-1"]);
});

test("a removed package and a replaced package are no longer in the index", async () => {
  const served = new ServedFolder();
  served.put(`${amd64}/a.deb`, await aDeb({ package: "a", version: "1", architecture: "amd64" }));
  served.put(`${amd64}/b.deb`, await aDeb({ package: "b", version: "1", architecture: "amd64" }));
  await served.ping();
  served.put(`${amd64}/a.deb`, await aDeb({ package: "a", version: "2", architecture: "amd64" }), 1_700_000_100);
  served.remove(`${amd64}/b.deb`);
  const outcome = await served.ping(amd64);
  expect(outcome).toMatchObject({ added: [`${amd64}/a.deb`], removed: [`${amd64}/b.deb`] });
  expect(await packageNames(served)).toEqual(["a 2"]);
});

test("an empty suite is published, and a removed suite is no longer served", async () => {
  const served = new ServedFolder();
  served.makeDirectory(amd64);
  await served.ping();
  expect(await served.text(`${amd64}/Packages`)).toBe("");
  expect(await served.text("dists/sid/Release")).toContain("\nComponents: main\n");
  served.remove("dists/sid");
  await served.ping();
  expect(await served.bytes("dists/sid/InRelease")).toBeUndefined();
});

test("the index of a new architecture contains the existing packages with Architecture: all", async () => {
  const served = new ServedFolder();
  served.put(`${amd64}/all.deb`, await aDeb({ package: "everywhere", architecture: "all" }));
  await served.ping();
  served.makeDirectory("dists/sid/main/binary-riscv64");
  await served.ping("dists/sid/main/binary-riscv64");
  expect(await packageNames(served, "dists/sid/main/binary-riscv64/Packages")).toEqual(["everywhere 1.0-1"]);
});
