// Opens a private OpenPGP key and makes sure that APT's verifiers take what it signs, now and while it lasts.
import type { KeyID, PrivateKey } from "openpgp";
import { decryptKey, enums, readPrivateKey, Subkey } from "openpgp";
import type { Clock } from "../base/clock.ts";
import { messageOf, RepoError } from "../base/errors.ts";
import type { Secret } from "../base/secret.ts";
import type { SigningKey } from "./signer.ts";

/** A key that can't sign, or whose signatures APT would not accept. The message names its file and says what to do. */
export class UnfitKey extends RepoError {
  readonly code = "signing/unfit-key";
}

/** A private key as its operator gives it. */
export interface KeyFile {
  /** For messages. */
  readonly file: string;
  /** ASCII-armoured (`gpg --export-secret-keys --armor`), or its sub-keys alone (`--export-secret-subkeys`). */
  readonly armored: Secret;
}

/** A key that is ready to sign. */
export interface OpenedKey extends SigningKey {
  readonly file: string;
  readonly key: PrivateKey;
  /** Of the part that signs. */
  readonly id: KeyID;
  /** Since when the key and what binds it to its owner are valid, in ms since the epoch. */
  readonly sinceMs: number;
}

/** The shortest RSA key, in bits: gpgv still takes 2048 with a complaint, and newer apts no longer will. */
const minRsaBits = 3072;

/** sqv refuses them since February 2026, also in what a key says of itself. */
const weakHashes: ReadonlyMap<number, string> = new Map([
  [enums.hash.sha1, "SHA-1"],
  [enums.hash.sha224, "SHA-224"],
]);

const advice = "make an RSA-4096 key (gpg --quick-generate-key NAME rsa4096 sign never), or let one be made here";

/**
 * Opens a key; the newest part in it that can sign will sign, the primary key or a sub-key. One that has expired is
 * opened too, since others may sign in its place: `expiresAtSeconds` tells.
 * @param passphrases one of which opens a key that is locked
 * @throws UnfitKey for what apt 2.6 (gpgv) or apt 3 (sqv) refuses, or is known to refuse within a year
 */
export async function openKey(
  { file, armored }: KeyFile,
  { passphrases, now }: { readonly passphrases: readonly Secret[]; readonly now: Clock },
): Promise<OpenedKey> {
  try {
    return { file, ...(await fitKey(await unlocked(await readKey(armored), passphrases), now())) };
  } catch (thrown) {
    throw thrown instanceof UnfitKey ? new UnfitKey(`${file}: ${thrown.message}`) : thrown;
  }
}

async function readKey(armored: Secret): Promise<PrivateKey> {
  try {
    return await readPrivateKey({ armoredKey: armored.reveal() });
  } catch (thrown) {
    throw new UnfitKey(`this is no armoured OpenPGP private key of version 4: ${messageOf(thrown)}; ${advice}`);
  }
}

async function unlocked(key: PrivateKey, passphrases: readonly Secret[]): Promise<PrivateKey> {
  // A primary key that is kept elsewhere is a stub, neither locked nor open.
  const isLocked = key
    .getKeys()
    .some(({ keyPacket }) => "isDummy" in keyPacket && keyPacket.isDecrypted() === false && !keyPacket.isDummy());
  if (!isLocked) return key;
  if (passphrases.length === 0) throw new UnfitKey("the signing key has a passphrase: give the file that holds it");
  try {
    return await decryptKey({ privateKey: key, passphrase: passphrases.map((passphrase) => passphrase.reveal()) });
  } catch {
    // The library's message is of no more use, and it has seen the passphrase.
    throw new UnfitKey("the passphrase does not open the signing key");
  }
}

async function fitKey(key: PrivateKey, nowMs: number): Promise<Omit<OpenedKey, "file">> {
  if (key.keyPacket.version !== 4) {
    throw new UnfitKey(`the signing key has version ${key.keyPacket.version}, and APT knows 4 alone; ${advice}`);
  }
  const ends = millisecondsOf(await key.getExpirationTime());
  // Of a key that has expired, what it was while it was good.
  const date = new Date(Math.min(nowMs, ends - 1000));
  checkAlgorithm(key);
  const signing = await key.getSigningKey(undefined, date).catch((thrown: unknown) => {
    throw new UnfitKey(`no part of this key can sign now: ${messageOf(thrown)}; ${advice}`);
  });
  const bindings = [(await key.getPrimaryUser(date)).selfCertification];
  let signingEnds = ends;
  if (signing instanceof Subkey) {
    checkAlgorithm(signing);
    const binding = await signing.verify(date);
    bindings.push(binding, ...(binding.embeddedSignature === null ? [] : [binding.embeddedSignature]));
    signingEnds = Math.min(ends, millisecondsOf(await signing.getExpirationTime(date)));
  }
  for (const { hashAlgorithm } of bindings) {
    const weak = hashAlgorithm === null ? undefined : weakHashes.get(hashAlgorithm);
    if (weak === undefined) continue;
    const renew = "renew them (gpg --cert-digest-algo SHA512 --quick-set-expire) and export it again";
    throw new UnfitKey(`the key's own signatures use ${weak}: ${renew}`);
  }
  const created = [key.getCreationTime(), signing.getCreationTime(), ...bindings.map((binding) => binding.created)];
  const ofItself = key.toPublic().toPacketList().filterByTag(enums.packet.signature) as { created?: Date | null }[];
  return {
    key,
    id: signing.getKeyID(),
    sinceMs: newestMs(created),
    fingerprint: key.getFingerprint().toUpperCase(),
    signingFingerprint: signing.getFingerprint().toUpperCase(),
    expiresAtSeconds: signingEnds === Number.POSITIVE_INFINITY ? undefined : Math.floor(signingEnds / 1000),
    changedAtSeconds: Math.floor(newestMs([key.getCreationTime(), ...ofItself.map((one) => one.created)]) / 1000),
  };
}

/** A revoked key's end is null, and then it can't sign anyway. */
const millisecondsOf = (end: Date | number | null): number =>
  end instanceof Date ? end.getTime() : Number.POSITIVE_INFINITY;

const newestMs = (times: readonly (Date | null | undefined)[]): number =>
  Math.max(...times.map((time) => time?.getTime() ?? 0));

/** RSA and EdDSA sign deterministically; the rest doesn't, or gpgv or sqv don't know it (Ed25519 as algorithm 27). */
function checkAlgorithm(key: PrivateKey | Subkey): void {
  const { algorithm, bits = 0, curve } = key.getAlgorithmInfo();
  const isRsa = algorithm === "rsaEncryptSign" || algorithm === "rsaSign";
  if (isRsa && bits < minRsaBits) {
    throw new UnfitKey(`the signing key is RSA with ${bits} bits, and APT wants ${minRsaBits}; ${advice}`);
  }
  if (!isRsa && !(algorithm === "eddsaLegacy" && curve === "ed25519Legacy")) {
    throw new UnfitKey(`the signing key's algorithm is ${algorithm}, which APT's verifiers don't all take; ${advice}`);
  }
}
