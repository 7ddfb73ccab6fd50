// One signing key per run of a test file, because generating an RSA-4096 key takes seconds.
import { generateKey } from "openpgp";
import type { Secret } from "../../src/base/secret.ts";
import { createSigningKey, keyDatedBackMs, openpgpSigner } from "../../src/signing/openpgp-signer.ts";
import type { Signer } from "../../src/signing/signer.ts";

/** The start of the key's validity, in seconds since the epoch. */
export const keyMadeAtSeconds = 1_700_000_000;

let key: Promise<Secret> | undefined;

/** An armoured RSA-4096 key; the same one within a test file. */
export function aSigningKey(): Promise<Secret> {
  key ??= createSigningKey({ name: "Tests", now: () => keyMadeAtSeconds * 1000 + keyDatedBackMs });
  return key;
}

/** A signer with that key. */
export async function aSigner(): Promise<Signer> {
  return await openpgpSigner([{ file: "tests.asc", armored: await aSigningKey() }], { now: Date.now });
}

/** An armoured Ed25519 key, which takes milliseconds, for servers that are processes of their own. */
export async function aQuickKey(): Promise<string> {
  const { privateKey } = await generateKey({
    type: "ecc",
    curve: "ed25519Legacy",
    userIDs: [{ name: "Tests" }],
    subkeys: [],
    date: new Date(keyMadeAtSeconds * 1000),
    format: "armored",
  });
  return privateKey;
}
