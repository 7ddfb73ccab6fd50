// One signing key per run of a test file: making an RSA-4096 key takes seconds.
import type { Secret } from "../../src/base/secret.ts";
import { createSigningKey, keyDatedBackMs, openpgpSigner } from "../../src/signing/openpgp-signer.ts";
import type { Signer } from "../../src/signing/signer.ts";

/** Since when the tests' key is valid, in seconds since the epoch. */
export const keyMadeAtSeconds = 1_700_000_000;

let key: Promise<Secret> | undefined;

/** An armoured RSA-4096 key, always the same one in a test file. */
export function aSigningKey(): Promise<Secret> {
  key ??= createSigningKey({ name: "Tests", now: () => keyMadeAtSeconds * 1000 + keyDatedBackMs });
  return key;
}

/** A signer with that key. */
export async function aSigner(): Promise<Signer> {
  return await openpgpSigner([{ file: "tests.asc", armored: await aSigningKey() }], { now: Date.now });
}
