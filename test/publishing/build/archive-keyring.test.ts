// The keyring package of a repository: its contents, its installation by dpkg, and its place in the tree.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, expect, test } from "vitest";
import { parseComponent, parseRepositoryName } from "../../../src/base/names.ts";
import type { KeyringOptions } from "../../../src/publishing/build/archive-keyring.ts";
import { archiveKeyring, keyringPackageName, nameOnMachines } from "../../../src/publishing/build/archive-keyring.ts";
import type { SigningKey } from "../../../src/signing/signer.ts";
import { OverlayTree } from "../../../src/storage/decorators/overlay-tree.ts";
import { aDeb, runTool } from "../../support/debs.ts";
import { packageNames, ServedFolder } from "../../support/served-folder.ts";

const directory = mkdtempSync(join(tmpdir(), "archive-keyring-"));
afterAll(() => rmSync(directory, { recursive: true }));

const november = Date.UTC(2026, 10, 22, 16, 45, 1) / 1000;
const packageName = "example-archive-keyring";

const aKey = (changedAtSeconds = november): SigningKey => ({
  fingerprint: "A".repeat(40),
  signingFingerprint: "B".repeat(40),
  expiresAtSeconds: undefined,
  changedAtSeconds,
});

const signerOf = (...keys: readonly SigningKey[]) => ({ keys, publicKeyBytes: Buffer.from(`${keys.length} keys`) });

const someOptions = (changes: Partial<KeyringOptions> = {}): KeyringOptions => ({
  repository: parseRepositoryName("Example"),
  label: "Example & Co",
  signer: signerOf(aKey()),
  component: parseComponent("main"),
  uri: "https://apt.example.org/Example",
  suites: ["sid", "trixie"],
  ...changes,
});

const versionOf = (...keys: readonly SigningKey[]): string =>
  archiveKeyring(someOptions({ signer: signerOf(...keys) })).name.split("_")[1] ?? "";

/** The package on disk, and its contents unpacked by dpkg. */
function unpacked(options: KeyringOptions): { readonly deb: string; readonly root: string; readonly control: string } {
  const { name, bytes } = archiveKeyring(options);
  const deb = join(directory, name);
  const root = mkdtempSync(join(directory, "root-"));
  writeFileSync(deb, bytes);
  runTool("dpkg-deb", ["--extract", deb, root]);
  runTool("dpkg-deb", ["--control", deb, join(root, "DEBIAN")]);
  return { deb, root, control: readFileSync(join(root, "DEBIAN/control"), "utf8") };
}

test("equal keys give equal bytes, and different keys different ones", () => {
  expect(archiveKeyring(someOptions())).toMatchObject({ name: `${packageName}_20261122.164501.8_all.deb` });
  expect(archiveKeyring(someOptions()).bytes).toEqual(archiveKeyring(someOptions()).bytes);
  expect(archiveKeyring(someOptions()).bytes).not.toEqual(
    archiveKeyring(someOptions({ signer: signerOf(aKey(1)) })).bytes,
  );
});

test("dpkg finds the keyring under both names, the source that refers to it, and correct checksums", () => {
  const { root, control } = unpacked(someOptions());
  const text = (path: string) => readFileSync(join(root, path), "utf8");
  expect(control).toMatch(/^Package: example-archive-keyring\nVersion: 20261122\.164501\.8\nArchitecture: all\n/);
  expect(control).toContain("Maintainer: Example Co <postmaster@apt.example.org>\n");
  for (const ending of ["pgp", "gpg"]) expect(text(`usr/share/keyrings/${packageName}.${ending}`)).toBe("1 keys");
  expect(text(`usr/share/${packageName}/Example.sources`)).toBe(
    `Types: deb deb-src\nURIs: https://apt.example.org/Example\nSuites: sid trixie\nComponents: main\nSigned-By: /usr/share/keyrings/${packageName}.pgp\n`,
  );
  expect(runTool("bash", ["-c", 'cd "$0" && md5sum --check --strict DEBIAN/md5sums', root]).toString()).toContain("OK");
  expect(text(`usr/share/doc/${packageName}/copyright`)).toMatch(/^Format: /);
  const changelog = gunzipSync(readFileSync(join(root, `usr/share/doc/${packageName}/changelog.gz`)));
  const parsed = runTool("dpkg-parsechangelog", ["-l-"], changelog, "dpkg-dev").toString();
  expect(parsed).toContain("Version: 20261122.164501.8\n");
  expect(parsed).toContain("Date: Sun, 22 Nov 2026 16:45:01 +0000\n");
});

test("the package contains no source while the public URL or the suites are unknown", () => {
  for (const options of [someOptions({ uri: undefined }), someOptions({ suites: [] })]) {
    expect(runTool("dpkg-deb", ["--contents", unpacked(options).deb]).toString()).not.toContain(".sources");
  }
});

test("owners, permissions and links comply with Policy, even for long names", () => {
  const options = someOptions({ repository: parseRepositoryName("x".repeat(64)) });
  const listed = runTool("dpkg-deb", ["--contents", unpacked(options).deb])
    .toString()
    .trim()
    .split("\n");
  const kinds = listed.map((line) => line.replace(/ +\d.*$/, ""));
  expect(new Set(kinds)).toEqual(new Set(["drwxr-xr-x root/root", "-rw-r--r-- root/root", "lrwxrwxrwx root/root"]));
  expect(listed.join("\n")).toContain(`./usr/share/doc/${"x".repeat(64)}-archive-keyring/changelog.gz`);
});

test("adding a key and removing a key are upgrades", () => {
  const [old, young] = [aKey(november - 1000), aKey()];
  const versions = [versionOf(old), versionOf(old, young), versionOf(young)];
  for (const [index, version] of versions.slice(1).entries()) {
    runTool("dpkg", ["--compare-versions", version, "gt", versions[index] ?? ""]);
  }
});

test("the keyring and sources of a distribution are not overwritten", () => {
  const nameOf = (raw: string) => keyringPackageName(parseRepositoryName(raw));
  expect(["debian", "Ubuntu", "my_repo"].map(nameOf)).toEqual([
    "debian-tahoe-archive-keyring",
    "ubuntu-tahoe-archive-keyring",
    "my-repo-archive-keyring",
  ]);
  expect(["debian", "Ubuntu", "my_repo"].map((raw) => nameOnMachines(parseRepositoryName(raw)))).toEqual([
    "debian-tahoe",
    "Ubuntu-tahoe",
    "my_repo",
  ]);
  const { root } = unpacked(someOptions({ repository: parseRepositoryName("debian") }));
  expect(readFileSync(join(root, "DEBIAN/postinst"), "utf8")).toContain(
    "sources=/etc/apt/sources.list.d/debian-tahoe.sources\n",
  );
});

const keyring = /^example-archive-keyring /;

test("every suite with packages in the component lists the keyring package, and no other suite does", async () => {
  const options = someOptions();
  const served = new ServedFolder({ wrap: (tree) => new OverlayTree(tree, archiveKeyring(options)) });
  const deb = await aDeb({ architecture: "amd64" });
  served.put("dists/sid/main/binary-amd64/a/hello_1.0-1_amd64.deb", deb);
  served.put("dists/sid/extra/binary-amd64/hello_1.0-1_amd64.deb", deb);
  served.put("dists/trixie/main/binary-all/hello_1.0-1_all.deb", await aDeb());
  served.put("dists/other/extra/binary-amd64/hello_1.0-1_amd64.deb", deb);
  served.makeDirectory("dists/sources/main/source");
  await served.ping();
  const listed = async (index: string) => (await packageNames(served, index)).filter((line) => keyring.test(line));
  expect(await listed("dists/sid/main/binary-amd64/Packages")).toHaveLength(1);
  expect(await listed("dists/trixie/main/binary-all/Packages")).toHaveLength(1);
  expect(await listed("dists/sid/extra/binary-amd64/Packages")).toEqual([]);
  expect(await listed("dists/other/extra/binary-amd64/Packages")).toEqual([]);
  expect(served.repository.status().suites.find(({ suite }) => suite === "sources")?.architectures).toEqual([]);

  const index = await served.text("dists/sid/main/binary-amd64/Packages");
  const path = /^Filename: (pool\/.*example-archive-keyring.*)$/m.exec(index)?.[1] ?? "";
  expect(await served.bytes(path)).toEqual(archiveKeyring(options).bytes);

  // A ping for a builder's directory does not remove it.
  served.put(
    "dists/sid/main/binary-amd64/a/later_1_amd64.deb",
    await aDeb({ package: "later", architecture: "amd64" }),
  );
  await served.ping("dists/sid/main/binary-amd64/a");
  expect(await packageNames(served)).toHaveLength(3);
  await served.ping("dists/sid/main/binary-all");
  expect(await packageNames(served)).toHaveLength(3);
});

test("a package of an older publication stays readable after a change of keys", async () => {
  const of = (...keys: readonly SigningKey[]) => archiveKeyring(someOptions({ signer: signerOf(...keys) }));
  const [before, after] = [of(aKey(1000)), of(aKey(1000), aKey())];
  const served = new ServedFolder({ wrap: (tree) => new OverlayTree(tree, before) });
  served.put("dists/sid/main/binary-amd64/hello_1.0-1_all.deb", await aDeb());
  await served.ping();
  const pathOf = async () =>
    /^Filename: (.*keyring.*)$/m.exec(await served.text("dists/sid/main/binary-amd64/Packages"))?.[1];
  const oldPath = (await pathOf()) ?? "";
  await served.restart({ wrap: (tree) => new OverlayTree(tree, after) });
  await served.ping();
  expect(await pathOf()).not.toBe(oldPath);
  expect(await served.bytes((await pathOf()) ?? "")).toEqual(after.bytes);
  // Not from the cache: this is the first request for it.
  rmSync(join(served.state, "packages"), { recursive: true, force: true });
  mkdirSync(join(served.state, "packages"));
  expect(await served.bytes(oldPath)).toEqual(before.bytes);
});
