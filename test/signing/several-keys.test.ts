// Several keys, keys with sub-keys and keys that expire: clients that trust only one of them can verify.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { generateKey } from "openpgp";
import { afterAll, expect, test } from "vitest";
import { Secret } from "../../src/base/secret.ts";
import { openpgpSigner } from "../../src/signing/openpgp-signer.ts";
import type { Signer } from "../../src/signing/signer.ts";
import { runTool } from "../support/debs.ts";
import { aSigningKey, keyMadeAtSeconds } from "../support/signing-key.ts";

const directory = mkdtempSync(join(tmpdir(), "several-keys-"));
afterAll(() => rmSync(directory, { recursive: true }));

const release = "Origin: Tests\nSuite: sid\n";
const dateSeconds = keyMadeAtSeconds + 1000;

async function aKey(keyExpirationTime?: number): Promise<Secret> {
  const { privateKey } = await generateKey({
    type: "ecc",
    curve: "ed25519Legacy",
    userIDs: { name: "Another" },
    subkeys: [],
    date: new Date(keyMadeAtSeconds * 1000),
    format: "armored",
    ...(keyExpirationTime !== undefined && { keyExpirationTime }),
  });
  return new Secret(privateKey);
}

const signerOf = (keys: readonly Secret[], nowSeconds = dateSeconds, passphrases: readonly Secret[] = []) =>
  openpgpSigner(
    keys.map((armored, index) => ({ file: `key-${index}.asc`, armored })),
    { now: () => nowSeconds * 1000, passphrases },
  );

function write(name: string, content: string | Uint8Array): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

/** Verifies both forms with both verifiers of APT. @returns the status lines of gpgv */
async function verify(signer: Signer, trusted: Signer): Promise<string> {
  const signed = await signer.sign(release, dateSeconds);
  const [keyring, armored] = [write("ring.gpg", trusted.publicKeyBytes), write("ring.asc", trusted.publicKey)];
  const [inRelease, gpg, text] = [
    write("InRelease", signed.inRelease),
    write("Release.gpg", signed.releaseGpg),
    write("Release", release),
  ];
  // gpgv exits with 2 if one key is missing; apt reads the status lines, and needs one good signature.
  const status = ["--status-fd", "1", "--keyring", keyring];
  const gpgv = (...args: readonly string[]) =>
    runTool("bash", ["-c", 'gpgv "$@" || [ $? -eq 2 ]', "gpgv", ...status, ...args]).toString();
  const clear = gpgv(inRelease);
  expect(gpgv(gpg, text).match(/GOODSIG \S+/g)).toEqual(clear.match(/GOODSIG \S+/g));
  for (const ring of [keyring, armored]) runTool("sqv", ["--keyring", ring, gpg, text]);
  return clear;
}

const goodSignatures = (status: string): number => status.match(/ GOODSIG /g)?.length ?? 0;

test("clients that trust one of two keys can verify, and clients that trust both find two good signatures", async () => {
  const [old, young] = [await aSigningKey(), await aKey()];
  const both = await signerOf([old, young]);
  expect(goodSignatures(await verify(both, await signerOf([old])))).toBe(1);
  expect(goodSignatures(await verify(both, await signerOf([young])))).toBe(1);
  expect(goodSignatures(await verify(both, both))).toBe(2);
  await expect(verify(both, await signerOf([await aKey()]))).rejects.toThrow();
});

test("two keys sign deterministically", async () => {
  const keys = [await aSigningKey(), await aKey()];
  const signed = await (await signerOf(keys)).sign(release, dateSeconds);
  expect(await (await signerOf(keys)).sign(release, dateSeconds)).toEqual(signed);
});

test("both keys are in one armoured block, in order, and a single key is in a block of its own", async () => {
  const [one, two] = [await aSigningKey(), await aKey()];
  const [first, second, both] = [await signerOf([one]), await signerOf([two]), await signerOf([one, two])];
  expect(both.publicKey.match(/BEGIN PGP/g)).toHaveLength(1);
  expect(both.keys.map((key) => key.fingerprint)).toEqual([first, second].map((each) => each.keys[0]?.fingerprint));
  expect(Buffer.compare(both.publicKeyBytes, Buffer.concat([first.publicKeyBytes, second.publicKeyBytes]))).toBe(0);
  expect(both.publicKey).not.toContain("\r");
  const listed = runTool("gpg", ["--homedir", directory, "--show-keys", "--with-colons"], both.publicKey, "gnupg");
  expect(listed.toString().match(/^pub:/gm)).toHaveLength(2);
});

test("if a key has expired, the others sign, at the start and later", async () => {
  const ends = keyMadeAtSeconds + 500;
  const [lasting, ending] = [await aSigningKey(), await aKey(500)];
  const alone = await signerOf([lasting]);
  for (const nowSeconds of [ends - 100, ends + 100]) {
    const signer = await signerOf([ending, lasting], nowSeconds);
    expect(signer.keys.map((key) => key.expiresAtSeconds)).toEqual([ends, undefined]);
    expect(await signer.sign(release, ends + 100)).toEqual(await alone.sign(release, ends + 100));
    // The current time decides: a Date may be as old as the newest package.
    const [both, one] = [await signer.sign(release, ends - 100), await alone.sign(release, ends - 100)];
    if (nowSeconds < ends) expect(both.releaseGpg.length).toBeGreaterThan(one.releaseGpg.length);
    else expect(both).toEqual(one);
  }
  await expect(signerOf([ending], ends + 100)).rejects.toThrow(
    "key-0.asc: cannot sign any more, expired on 2023-11-14",
  );
});

test("the error for several keys names the one that cannot be used", async () => {
  await expect(signerOf([await aSigningKey(), new Secret("no key")])).rejects.toThrow(
    "key-1.asc: this is not an armoured",
  );
});

/** A key of gpg whose sub-key signs, exported without its primary key; the sub-key expires in 30 days. */
function withPrimaryElsewhere(passphrase: string): Secret {
  const home = mkdtempSync(join(directory, "gnupg-"));
  const unlock = ["--pinentry-mode", "loopback", "--passphrase", passphrase];
  const gpg = (...args: readonly string[]) =>
    runTool("gpg", ["--homedir", home, "--batch", "--quiet", ...unlock, ...args], "", "gnupg").toString();
  gpg("--quick-generate-key", "By gpg", "rsa3072", "cert", "never");
  const fingerprint = /^fpr:+([0-9A-F]{40})/m.exec(gpg("--list-keys", "--with-colons"))?.[1] ?? "";
  gpg("--quick-add-key", fingerprint, "rsa3072", "sign", "30d");
  return new Secret(gpg("--armor", "--export-secret-subkeys"));
}

test.each(["", "correct horse"])(
  "a sub-key signs while its primary key is kept elsewhere (passphrase: %j)",
  async (word) => {
    const exported = withPrimaryElsewhere(word);
    const nowSeconds = Date.now() / 1000;
    const signer = await signerOf([exported], nowSeconds, [new Secret(word)]);
    const [key] = signer.keys;
    expect(key?.signingFingerprint).not.toBe(key?.fingerprint);
    expect((key?.expiresAtSeconds ?? 0) - nowSeconds).toBeGreaterThan(29 * 86_400);
    expect((key?.expiresAtSeconds ?? 0) - nowSeconds).toBeLessThan(31 * 86_400);
    const signed = await signer.sign(release, Math.floor(nowSeconds));
    const status = runTool("gpgv", [
      "--status-fd",
      "1",
      "--keyring",
      write("sub.gpg", signer.publicKeyBytes),
      write("sub.InRelease", signed.inRelease),
    ]).toString();
    expect(status).toMatch(new RegExp(`VALIDSIG ${key?.signingFingerprint} .* ${key?.fingerprint}`));
    if (word !== "") await expect(signerOf([exported], nowSeconds)).rejects.toThrow("has a passphrase");
  },
);
