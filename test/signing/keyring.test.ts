// Keyrings in the forms that clients have, and what a Release that one of their keys has signed is worth.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { fingerprintOf, readKeyring, verifyInRelease } from "../../src/signing/verify.ts";
import { ForeignKey } from "../support/foreign-repositories.ts";

const work = mkdtempSync(join(tmpdir(), "tahoe-apt-keyring-"));
let keys: readonly ForeignKey[];

beforeAll(() => {
  keys = ["one", "two"].map((name) => {
    mkdirSync(join(work, name));
    return new ForeignKey(join(work, name));
  });
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

const fingerprintsIn = async (bytes: Uint8Array): Promise<readonly string[]> =>
  (await readKeyring(bytes)).map(fingerprintOf);

test("a keyring is read armoured, in one or several blocks, and binary", async () => {
  const armored = keys.map(({ keyring }) => readFileSync(keyring));
  const both = keys.map(({ fingerprint }) => fingerprint);
  expect(await fingerprintsIn(armored[0] ?? Buffer.alloc(0))).toEqual(both.slice(0, 1));
  expect(await fingerprintsIn(Buffer.concat(armored))).toEqual(both);
  const binary = keys.map(({ home }) => execFileSync("gpg", ["--homedir", home, "--export"], { stdio: "pipe" }));
  expect(await fingerprintsIn(Buffer.concat(binary))).toEqual(both);
});

test("anything else is not a keyring", async () => {
  await expect(readKeyring(Buffer.from("no key"))).rejects.toThrow();
  await expect(readKeyring(Buffer.alloc(0))).rejects.toThrow();
});

test("a text that a key of the keyring has signed is good, a changed one and that of another key are not", async () => {
  const [one, two] = keys;
  if (one === undefined || two === undefined) throw new Error("there are no keys");
  writeFileSync(join(work, "Release"), "Origin: Foreign\n");
  one.sign(work);
  const inRelease = readFileSync(join(work, "InRelease"), "utf8");
  const [ownKeys, otherKeys] = await Promise.all([one, two].map(({ keyring }) => readKeyring(readFileSync(keyring))));
  const now = new Date();
  expect(await verifyInRelease(inRelease, ownKeys ?? [], now)).toMatchObject({
    goodFingerprints: [one.fingerprint],
    text: "Origin: Foreign\n",
  });
  expect((await verifyInRelease(inRelease, otherKeys ?? [], now)).goodFingerprints).toEqual([]);
  const changed = inRelease.replace("Foreign", "Forged");
  expect((await verifyInRelease(changed, ownKeys ?? [], now)).goodFingerprints).toEqual([]);
});
