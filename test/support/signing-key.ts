// One signing key per run of a test file, because generating an RSA-4096 key takes seconds.
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
