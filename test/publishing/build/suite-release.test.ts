// The Release of a suite: its identity, dates, digests and lists of files.
import { createHash } from "node:crypto";
import { expect, test, vi } from "vitest";
import { defaultDateLagSeconds } from "../../../src/publishing/build/release-date.ts";
import { unsigned } from "../../../src/signing/unsigned.ts";
import { aDeb } from "../../support/debs.ts";
import { ServedFolder, unlistedWhile } from "../../support/served-folder.ts";

const amd64 = "dists/sid/main/binary-amd64";
const release = "dists/sid/Release";
const field = (text: string, name: string): string | undefined => new RegExp(`^${name}: (.*)$`, "m").exec(text)?.[1];

test("a start with a changed identity fails and names the consequences for users, unless the change is accepted", async () => {
  const served = new ServedFolder({ identity: { origin: "Example" } });
  served.makeDirectory(amd64);
  await served.ping();
  const changed = { identity: { origin: "Other", notAutomatic: true } };
  const refusal = /Origin was "Example" and would be "Other".*NotAutomatic was absent.*allow-releaseinfo-change/;
  await expect(served.restart(changed)).rejects.toThrow(refusal);
  await served.restart({ identity: { origin: "Example", version: "2", description: "may change" } });
  await served.restart({ ...changed, acceptIdentityChange: true });
  await served.ping();
  expect(field(await served.text(release), "Origin")).toBe("Other");
  await served.restart(changed);
});

test("Valid-Until is renewed in time, even if nothing changes and the tree cannot be read", async () => {
  let nowMs = Date.UTC(2026, 10, 22, 12);
  const publications: string[] = [];
  const day = 24 * 3600;
  const observer = { published: (suite: string) => void publications.push(suite) };
  const options = { now: () => nowMs, validForSeconds: 7 * day, observer };
  const served = new ServedFolder(options);
  served.put(`${amd64}/a.deb`, await aDeb({ package: "a", architecture: "amd64" }));
  await served.ping();
  const until = async () => Date.parse(field(await served.text(release), "Valid-Until") ?? "") / 1000;
  expect(await until()).toBe(nowMs / 1000 + 7 * day);
  const packages = await served.text(`${amd64}/Packages`);

  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  try {
    await served.restart({ ...options, wrap: unlistedWhile(() => true) });
    void served.repository.start(day);
    nowMs += 3 * day * 1000;
    vi.advanceTimersByTime(60_000);
    expect(await until()).toBe(nowMs / 1000 + 4 * day);
    nowMs += day * 1000;
    await vi.waitFor(async () => {
      // The pause before a check begins when the check before it has ended.
      await vi.advanceTimersByTimeAsync(60_000);
      expect(await until()).toBe(nowMs / 1000 + 7 * day);
    });
  } finally {
    vi.useRealTimers();
  }
  expect(publications, "exports follow the renewal").toEqual(["sid", "sid"]);
  expect(await served.text(`${amd64}/Packages`)).toBe(packages);
  expect(Date.parse(field(await served.text(release), "Date") ?? "")).toBe(nowMs - defaultDateLagSeconds * 1000);
});

test("the digests of Release are configurable, and every file is available by each of them", async () => {
  const served = new ServedFolder({ releaseDigests: ["md5", "sha256", "sha512"] });
  served.put(`${amd64}/a.deb`, await aDeb({ package: "a", architecture: "amd64" }));
  await served.ping();
  const text = await served.text(release);
  for (const [name, algorithm] of [
    ["MD5Sum", "md5"],
    ["SHA256", "sha256"],
    ["SHA512", "sha512"],
  ] as const) {
    for (const path of ["main/binary-amd64/Packages.xz", "main/binary-amd64/Release", "main/source/Sources"]) {
      const bytes = await served.bytes(`dists/sid/${path}`);
      const digest = createHash(algorithm)
        .update(bytes ?? "")
        .digest("hex");
      expect(text).toContain(`\n ${digest} ${bytes?.length} ${path}\n`);
      const directory = path.slice(0, path.lastIndexOf("/"));
      expect(await served.bytes(`dists/sid/${directory}/by-hash/${name}/${digest}`)).toEqual(bytes);
    }
  }
  expect(text).not.toContain("\nSHA1:");
});

test("each directory of indices has its own Release, which names its part of the suite", async () => {
  const served = new ServedFolder({ identity: { notAutomatic: true, butAutomaticUpgrades: true } });
  served.makeDirectory(amd64);
  await served.ping();
  expect(await served.text(`${amd64}/Release`)).toBe(
    "Archive: sid\nOrigin: test\nLabel: test\nNotAutomatic: yes\nButAutomaticUpgrades: yes\n" +
      "Acquire-By-Hash: yes\nComponent: main\nArchitecture: amd64\n",
  );
  expect(await served.text("dists/sid/main/source/Release")).toContain("Architecture: source\n");
  expect(await served.text(release)).toContain("\nNotAutomatic: yes\nButAutomaticUpgrades: yes\n");
});

test("packages for debian-installer are only in its index, wherever they are in the tree", async () => {
  const served = new ServedFolder();
  served.put(`${amd64}/a.deb`, await aDeb({ package: "a", architecture: "amd64" }));
  served.put(`${amd64}/b.udeb`, await aDeb({ package: "b", architecture: "amd64" }));
  served.put("dists/sid/main/debian-installer/binary-amd64/c.udeb", await aDeb({ package: "c", architecture: "all" }));
  served.put("dists/sid/main/debian-installer/binary-amd64/d.deb", await aDeb({ package: "d", architecture: "amd64" }));
  served.makeDirectory("dists/sid/main/binary-arm64");
  const { rejected } = await served.ping();
  const names = async (directory: string) =>
    [...(await served.text(`dists/sid/main/${directory}/Packages`)).matchAll(/^Package: (.*)$/gm)].map(
      ([, name = ""]) => name,
    );
  expect(await names("binary-amd64")).toEqual(["a"]);
  expect((await names("debian-installer/binary-amd64")).toSorted()).toEqual(["b", "c"]);
  expect(await names("debian-installer/binary-arm64")).toEqual(["c"]);
  expect(rejected.map(({ path, code }) => [path.slice(-6), code])).toEqual([["/d.deb", "wrong-place"]]);
  expect(field(await served.text(release), "Architectures")).toBe("amd64 arm64");
  served.remove(`${amd64}/b.udeb`);
  served.remove("dists/sid/main/debian-installer");
  await served.ping();
  expect(await served.text(release)).not.toContain("debian-installer");
});

test('a suite with packages only for "all" tells apt to request that architecture', async () => {
  const served = new ServedFolder();
  served.put("dists/sid/main/binary-all/a.deb", await aDeb({ package: "a", architecture: "all" }));
  await served.ping();
  const text = await served.text(release);
  expect(field(text, "Architectures")).toBe("all");
  expect(text).not.toContain("No-Support-for-Architecture-all");
});

test("if a suite names its keys, Release lists the accepted keys beside Valid-Until", async () => {
  const fingerprint = "0123456789ABCDEF0123456789ABCDEF01234567";
  const key = { fingerprint, signingFingerprint: fingerprint, expiresAtSeconds: undefined, changedAtSeconds: 0 };
  const signer = { ...unsigned, keys: [key, { ...key, fingerprint: "F".repeat(40) }] };
  const unnamed = { signer, validForSeconds: 86_400 };
  const named = { ...unnamed, signedBy: true };
  const served = new ServedFolder(unnamed);
  served.makeDirectory(amd64);
  await served.ping();
  expect(await served.text(release)).not.toContain("Signed-By");
  // Nothing else has changed, and the next refresh still publishes the new keys.
  await served.restart(named);
  await served.ping();
  expect(field(await served.text(release), "Signed-By")).toBe(`${fingerprint}, ${"F".repeat(40)}`);
  await served.restart(unnamed);
  await served.ping();
  expect(await served.text(release)).not.toContain("Signed-By");
  await served.restart({ signer, signedBy: true });
  await served.ping();
  expect(await served.text(release)).not.toMatch(/^(Signed-By|Valid-Until)/m);
});
