// Signatures are verified with the verifiers of APT, and keys that they would refuse are refused.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { KeyOptions } from "openpgp";
import { generateKey, readKey } from "openpgp";
import { afterAll, expect, test } from "vitest";
import { Secret } from "../../src/base/secret.ts";
import { UnfitKey } from "../../src/signing/openpgp-key.ts";
import { keyDatedBackMs, openpgpSigner } from "../../src/signing/openpgp-signer.ts";
import type { Signer } from "../../src/signing/signer.ts";
import { runTool } from "../support/debs.ts";
import { aSigner, aSigningKey, keyMadeAtSeconds } from "../support/signing-key.ts";

const directory = mkdtempSync(join(tmpdir(), "signing-"));
afterAll(() => rmSync(directory, { recursive: true }));

const release = "Origin: Tests\nSuite: sid\n- dash\nFrom here\nSHA256:\n 0123 0 main/binary-amd64/Packages\n";
const dateSeconds = keyMadeAtSeconds + 1000;

/** gpgv adds a line feed to the text of a cleartext signature. */
const asGpgvWrites = (text: string): string => `${text}\n`;

/** Writes files. @returns their paths */
function files(texts: { readonly [name: string]: string | Uint8Array }): { readonly [name: string]: string } {
  return Object.fromEntries(
    Object.entries(texts).map(([name, text]) => {
      const path = join(directory, name);
      writeFileSync(path, text);
      return [name, path];
    }),
  );
}

async function binaryKey(armoredKey: string): Promise<Uint8Array> {
  return (await readKey({ armoredKey })).write();
}

test("gpgv accepts both signed forms, and returns the same Release", async () => {
  const signer = await aSigner();
  const signed = await signer.sign(release, dateSeconds);
  const { keyring, inRelease, releaseGpg, text } = files({
    keyring: await binaryKey(signer.publicKey),
    inRelease: signed.inRelease,
    releaseGpg: signed.releaseGpg,
    text: release,
  });
  expect(runTool("gpgv", ["--keyring", keyring!, "--output", "-", inRelease!]).toString()).toBe(asGpgvWrites(release));
  runTool("gpgv", ["--keyring", keyring!, releaseGpg!, text!]);
});

test("both forms have the same signature, also for Release as apt extracts it from InRelease", async () => {
  const signer = await aSigner();
  const { inRelease, releaseGpg } = await signer.sign(release, dateSeconds);
  expect(inRelease.endsWith(`\n${releaseGpg}`)).toBe(true);
  const [, lines = ""] = inRelease.slice(0, -releaseGpg.length - 1).split("\nHash: SHA512\n\n");
  const { keyring, signature, text, shorter } = files({
    keyring: await binaryKey(signer.publicKey),
    signature: releaseGpg,
    text: lines.replaceAll(/^- /gm, ""),
    shorter: release.slice(0, -1),
  });
  expect(readFileSync(text!, "utf8")).toBe(release);
  runTool("gpgv", ["--keyring", keyring!, signature!, text!]);
  expect(() => runTool("gpgv", ["--keyring", keyring!, signature!, shorter!])).toThrow("BAD signature");
});

test("sqv accepts both signed forms", async () => {
  const signer = await aSigner();
  const signed = await signer.sign(release, dateSeconds);
  const { keyring, releaseGpg, text } = files({
    keyring: signer.publicKey,
    releaseGpg: signed.releaseGpg,
    text: release,
  });
  const said = runTool("sqv", ["--keyring", keyring!, releaseGpg!, text!]).toString();
  expect(said.trim()).toBe(signer.keys[0]?.fingerprint);
});

test("one changed byte of the text makes both signatures bad", async () => {
  const signer = await aSigner();
  const signed = await signer.sign(release, dateSeconds);
  const { keyring, inRelease, releaseGpg, text } = files({
    keyring: await binaryKey(signer.publicKey),
    inRelease: signed.inRelease.replace("Suite: sid", "Suite: sie"),
    releaseGpg: signed.releaseGpg,
    text: release.replace("Suite: sid", "Suite: sie"),
  });
  expect(() => runTool("gpgv", ["--keyring", keyring!, inRelease!])).toThrow("BAD signature");
  expect(() => runTool("gpgv", ["--keyring", keyring!, releaseGpg!, text!])).toThrow("BAD signature");
  expect(() => runTool("sqv", ["--keyring", keyring!, releaseGpg!, text!])).toThrow();
});

test("the signature of another key is not accepted", async () => {
  const signed = await (await aSigner()).sign(release, dateSeconds);
  const other = await anyKey({ type: "ecc", curve: "ed25519Legacy" });
  const { keyring, inRelease } = files({
    keyring: await binaryKey((await signerOf(other)).publicKey),
    inRelease: signed.inRelease,
  });
  expect(() => runTool("gpgv", ["--keyring", keyring!, inRelease!])).toThrow("No public key");
});

test("the cleartext signed form has nothing before or after it", async () => {
  const { inRelease, releaseGpg } = await (await aSigner()).sign(release, dateSeconds);
  expect(inRelease).toMatch(/^-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nOrigin: Tests\n/);
  expect(inRelease).toMatch(/\n-----END PGP SIGNATURE-----\n$/);
  expect(releaseGpg).toMatch(/^-----BEGIN PGP SIGNATURE-----\n[^:]*\n-----END PGP SIGNATURE-----\n$/);
  expect(inRelease + releaseGpg).not.toContain("\r");
});

test("equal text and date give equal bytes, and another date gives others", async () => {
  const signer = await aSigner();
  const signed = await signer.sign(release, dateSeconds);
  expect(await (await aSigner()).sign(release, dateSeconds)).toEqual(signed);
  expect(await signer.sign(release, dateSeconds + 1)).not.toEqual(signed);
});

test("a Release older than the key is signed with the time of the key, because earlier signatures would be bad", async () => {
  const signer = await aSigner();
  const signed = await signer.sign(release, keyMadeAtSeconds - 1_000_000);
  expect(signed).toEqual(await signer.sign(release, keyMadeAtSeconds));
  const { keyring, inRelease } = files({ keyring: await binaryKey(signer.publicKey), inRelease: signed.inRelease });
  runTool("gpgv", ["--keyring", keyring!, inRelease!]);
});

test("a new key is dated back one day, so that signatures with the first Dates are valid", async () => {
  const nowSeconds = keyMadeAtSeconds + keyDatedBackMs / 1000;
  const signer = await aSigner();
  const { keyring, releaseGpg, text } = files({
    keyring: signer.publicKey,
    releaseGpg: (await signer.sign(release, nowSeconds - 60)).releaseGpg,
    text: release,
  });
  const sqvAt = (seconds: number) =>
    runTool("sqv", [
      "--not-after",
      `${new Date(seconds * 1000).toISOString().slice(0, 19)}Z`,
      "--keyring",
      keyring!,
      releaseGpg!,
      text!,
    ]);
  sqvAt(nowSeconds - 50);
  expect(() => sqvAt(nowSeconds - 61), "sqv takes no signature from the future").toThrow();
});

const options = { now: () => (keyMadeAtSeconds + 10) * 1000 };

const signerOf = (...keys: readonly Secret[]): Promise<Signer> =>
  openpgpSigner(
    keys.map((armored, index) => ({ file: `key-${index}.asc`, armored })),
    options,
  );

async function anyKey(changes: Partial<KeyOptions>): Promise<Secret> {
  const userIDs = { name: "Any" };
  const date = new Date(keyMadeAtSeconds * 1000);
  const { privateKey } = await generateKey({ userIDs, subkeys: [], date, ...changes, format: "armored" });
  return new Secret(privateKey);
}

test("an Ed25519 key of the old form signs, with a sub-key too", async () => {
  const ed25519 = { type: "ecc", curve: "ed25519Legacy" } as const;
  for (const subkeys of [[], [{ ...ed25519, sign: true }]]) {
    const signer = await signerOf(await anyKey({ ...ed25519, subkeys }));
    const signed = await signer.sign(release, dateSeconds);
    expect(await signer.sign(release, dateSeconds)).toEqual(signed);
    const { keyring, inRelease } = files({ keyring: await binaryKey(signer.publicKey), inRelease: signed.inRelease });
    runTool("gpgv", ["--keyring", keyring!, inRelease!]);
  }
});

function gpgAt(home: string): (...args: readonly string[]) => Buffer {
  return (...args) => runTool("gpg", ["--homedir", home, "--batch", "--quiet", ...args], "", "gnupg");
}

test("a key of gpg signs", async () => {
  const gpg = gpgAt(mkdtempSync(join(directory, "gnupg-")));
  gpg("--passphrase", "", "--quick-generate-key", "By gpg", "rsa3072", "sign", "never");
  const exported = new Secret(gpg("--export-secret-keys", "--armor").toString());
  const signer = await openpgpSigner([{ file: "gpg.asc", armored: exported }], { now: Date.now });
  const signed = await signer.sign(release, Date.now() / 1000);
  const { keyring, inRelease } = files({ keyring: gpg("--export"), inRelease: signed.inRelease });
  expect(runTool("gpgv", ["--keyring", keyring!, "--output", "-", inRelease!]).toString()).toBe(asGpgvWrites(release));
});

test("a key with SHA-1 self-signatures is refused, as by sqv", async () => {
  const gpg = gpgAt(mkdtempSync(join(directory, "gnupg-")));
  gpg("--cert-digest-algo", "SHA1", "--passphrase", "", "--quick-generate-key", "Old", "rsa3072", "sign", "never");
  const exported = new Secret(gpg("--export-secret-keys", "--armor").toString());
  await expect(openpgpSigner([{ file: "gpg.asc", armored: exported }], { now: Date.now })).rejects.toThrow("SHA-1");
});

test("keys that APT would refuse are refused before anything is signed, with advice", async () => {
  const refused: readonly (readonly [string, Promise<Secret>])[] = [
    ["RSA with 2048 bits", anyKey({ type: "rsa", rsaBits: 2048 })],
    ["algorithm is ed25519", anyKey({ type: "curve25519" })],
    ["algorithm is ecdsa", anyKey({ type: "ecc", curve: "nistP256" })],
    ["version 6", anyKey({ type: "curve25519", config: { v6Keys: true } })],
    ["expired on 2023-11-14: extend the key", anyKey({ type: "ecc", curve: "ed25519Legacy", keyExpirationTime: 5 })],
    ["not an armoured OpenPGP private key", Promise.resolve(new Secret("not a key"))],
    ["not an armoured OpenPGP private key", aSigner().then((signer) => new Secret(signer.publicKey))],
  ];
  for (const [why, key] of refused) {
    const refusal = signerOf(await key);
    await expect(refusal, why).rejects.toThrow(why);
    await expect(refusal, why).rejects.toThrow(UnfitKey);
    await expect(refusal, why).rejects.toThrow("key-0.asc: ");
  }
});

test("a passphrase unlocks its key, and no other passphrase does", async () => {
  const key = await anyKey({ type: "ecc", curve: "ed25519Legacy", passphrase: "correct horse" });
  const open = (...words: readonly string[]) =>
    openpgpSigner([{ file: "locked.asc", armored: key }], {
      ...options,
      passphrases: words.map((word) => new Secret(word)),
    });
  await (await open("correct horse")).sign(release, dateSeconds);
  await (await open("battery staple", "correct horse")).sign(release, dateSeconds);
  await expect(open("battery staple")).rejects.toThrow("locked.asc: the passphrase does not open");
  await expect(open()).rejects.toThrow("locked.asc: the signing key has a passphrase");
  await expect(open("battery staple")).rejects.not.toThrow("battery");
});

test("the error for a key that expires while it is in use says so", async () => {
  const key = await anyKey({ type: "ecc", curve: "ed25519Legacy", keyExpirationTime: 100 });
  const signer = await signerOf(key);
  await signer.sign(release, keyMadeAtSeconds + 50);
  await expect(signer.sign(release, keyMadeAtSeconds + 150)).rejects.toThrow("cannot sign any more");
});

test("the private key is not in the public properties of a signer", async () => {
  const signer = await aSigner();
  expect(signer.keys[0]?.fingerprint).toMatch(/^[0-9A-F]{40}$/);
  expect(signer.publicKey).toMatch(/^-----BEGIN PGP PUBLIC KEY BLOCK-----/);
  expect(JSON.stringify(signer)).not.toContain("PRIVATE");
  expect(String(await aSigningKey())).not.toContain("PRIVATE");
});
