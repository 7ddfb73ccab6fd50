// Opens a private OpenPGP key, and checks that the verifiers of APT accept its signatures until it expires.
import type { KeyID, PrivateKey } from "openpgp";
import { decryptKey, enums, readPrivateKey, SignaturePacket, Subkey } from "openpgp";
import type { Clock } from "../base/clock.ts";
import { messageOf, RepoError } from "../base/errors.ts";
import type { Secret } from "../base/secret.ts";
import type { SigningKey } from "./signer.ts";

/** A key cannot sign, or APT would not accept its signatures. The message names the file and says what to do. */
export class UnfitKey extends RepoError {
  readonly code = "signing/unfit-key";
}

/** No configured passphrase opens a key. */
export class LockedKey extends UnfitKey {}

/** A private key from the configuration. */
export interface KeyFile {
  /** The path, for messages. */
  readonly file: string;
  /** ASCII-armoured (`gpg --export-secret-keys --armor`), possibly only the sub-keys (`--export-secret-subkeys`). */
  readonly armored: Secret;
}

/** An unlocked key that can sign. */
export interface OpenedKey extends SigningKey {
  readonly file: string;
  readonly key: PrivateKey;
  /** The id of the primary key or sub-key that signs. */
  readonly id: KeyID;
  /** Since when the key and its self-signatures are valid, in ms since the epoch. */
  readonly sinceMs: number;
}

/** The shortest RSA key, in bits: gpgv still accepts 2048 with a warning, and newer versions of apt will not. */
const minRsaBits = 3072;

/** Hash algorithms that sqv refuses since February 2026, also in self-signatures. */
const weakHashes: ReadonlyMap<number, string> = new Map([
  [enums.hash.sha1, "SHA-1"],
  [enums.hash.sha224, "SHA-224"],
]);

const advice = "make an RSA-4096 key (gpg --quick-generate-key NAME rsa4096 sign never), or let one be made here";

/**
 * Opens a key. Its newest part that can sign, the primary key or a sub-key, will sign. An expired key is opened too,
 * because other keys may sign instead; see `expiresAtSeconds`.
 * @param passphrases for locked keys, in any order
 * @throws UnfitKey for a key that apt 2.6 (gpgv) or apt 3 (sqv) refuses, or is known to refuse within a year
 */
export async function openKey(
  { file, armored }: KeyFile,
  { passphrases, now }: { readonly passphrases: readonly Secret[]; readonly now: Clock },
): Promise<OpenedKey> {
  try {
    return { file, ...(await fitKey(await unlocked(await readKey(armored), passphrases), now())) };
  } catch (thrown) {
    if (!(thrown instanceof UnfitKey)) throw thrown;
    const text = `${file}: ${thrown.message}`;
    throw thrown instanceof LockedKey ? new LockedKey(text) : new UnfitKey(text);
  }
}

async function readKey(armored: Secret): Promise<PrivateKey> {
  try {
    return await readPrivateKey({ armoredKey: armored.reveal() });
  } catch (thrown) {
    throw new UnfitKey(`this is not an armoured OpenPGP private key of version 4: ${messageOf(thrown)}; ${advice}`);
  }
}

async function unlocked(key: PrivateKey, passphrases: readonly Secret[]): Promise<PrivateKey> {
  // A primary key that is not in the file is a stub, which is neither locked nor unlocked.
  const isLocked = key
    .getKeys()
    .some(({ keyPacket }) => "isDummy" in keyPacket && keyPacket.isDecrypted() === false && !keyPacket.isDummy());
  if (!isLocked) return key;
  if (passphrases.length === 0)
    throw new LockedKey("the signing key has a passphrase: configure the file that contains it");
  try {
    return await decryptKey({ privateKey: key, passphrase: passphrases.map((passphrase) => passphrase.reveal()) });
  } catch {
    // The message of the library does not help more, and the library knows the passphrase.
    throw new LockedKey("the passphrase does not open the signing key");
  }
}

async function fitKey(key: PrivateKey, nowMs: number): Promise<Omit<OpenedKey, "file">> {
  if (key.keyPacket.version !== 4) {
    throw new UnfitKey(
      `the signing key has version ${key.keyPacket.version}, and APT supports only version 4; ${advice}`,
    );
  }
  const ends = millisecondsOf(await key.getExpirationTime());
  // For an expired key, use its properties from before the expiry.
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
  const ofItself = [...key.toPublic().toPacketList()].filter((packet) => packet instanceof SignaturePacket);
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

/** The end of a revoked key is null, and such a key cannot sign. */
const millisecondsOf = (end: Date | number | null): number =>
  end instanceof Date ? end.getTime() : Number.POSITIVE_INFINITY;

const newestMs = (times: readonly (Date | null | undefined)[]): number =>
  Math.max(...times.map((time) => time?.getTime() ?? 0));

/**
 * RSA and EdDSA signatures are deterministic. Others are not, or gpgv or sqv do not support them (Ed25519 as algorithm
 * 27).
 */
function checkAlgorithm(key: PrivateKey | Subkey): void {
  const { algorithm, bits = 0, curve } = key.getAlgorithmInfo();
  const isRsa = algorithm === "rsaEncryptSign" || algorithm === "rsaSign";
  if (isRsa && bits < minRsaBits) {
    throw new UnfitKey(`the signing key is RSA with ${bits} bits, and APT requires ${minRsaBits}; ${advice}`);
  }
  if (!isRsa && !(algorithm === "eddsaLegacy" && curve === "ed25519Legacy")) {
    throw new UnfitKey(
      `the signing key's algorithm is ${algorithm}, which not all verifiers of APT support; ${advice}`,
    );
  }
}
