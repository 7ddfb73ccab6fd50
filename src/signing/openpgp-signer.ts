// Signs with an OpenPGP key held in memory, after making sure that APT would accept what it signs.
import type { KeyID, PartialConfig, PrivateKey } from "openpgp";
import {
  createCleartextMessage,
  createMessage,
  decryptKey,
  enums,
  generateKey,
  readPrivateKey,
  Subkey,
  sign,
} from "openpgp";
import type { Clock } from "../base/clock.ts";
import { messageOf, RepoError } from "../base/errors.ts";
import { Secret } from "../base/secret.ts";
import type { Signer } from "./signer.ts";

/** A key that can't sign, or whose signatures APT would not accept. The message says what to do. */
export class UnfitKey extends RepoError {
  readonly code = "signing/unfit-key";
}

/** The shortest RSA key, in bits: gpgv still takes 2048 with a complaint, and newer apts no longer will. */
const minRsaBits = 3072;
/** What we make ourselves: old verifiers know RSA alone, and this length lasts. */
const newRsaBits = 4096;

/** Given with each call, so that nobody else's OpenPGP in this process changes. */
const signingConfig: PartialConfig = {
  // Otherwise a random notation goes into each signature, and equal Releases differ.
  nonDeterministicSignaturesViaNotation: false,
  preferredHashAlgorithm: enums.hash.sha512,
  showVersion: false,
  showComment: false,
};

const advice = "make an RSA-4096 key (gpg --quick-generate-key NAME rsa4096 sign never), or let one be made here";

/**
 * Makes a private key for signing only, RSA-4096, that never expires.
 * @param name of the repository, as people will see it in the key
 * @returns the key, ASCII-armoured, without a passphrase
 */
export async function createSigningKey({ name, now }: { readonly name: string; readonly now: Clock }): Promise<Secret> {
  const { privateKey } = await generateKey({
    type: "rsa",
    rsaBits: newRsaBits,
    userIDs: { name },
    subkeys: [],
    date: new Date(now()),
    format: "armored",
    config: signingConfig,
  });
  return new Secret(privateKey);
}

/**
 * Signs with the newest key in it that can sign, the primary one or a sub-key. Signatures are deterministic.
 * @param armored a private key, ASCII-armoured (`gpg --export-secret-keys --armor`)
 * @param passphrase undefined for a key without one
 * @throws UnfitKey
 */
export async function openpgpSigner(
  armored: Secret,
  { passphrase, now }: { readonly passphrase: Secret | undefined; readonly now: Clock },
): Promise<Signer> {
  const key = await unlocked(await readKey(armored), passphrase);
  const signing = await fitSigningKey(key, new Date(now()));
  return {
    publicKey: key.toPublic().armor(),
    fingerprint: key.getFingerprint().toUpperCase(),
    async sign(release, dateSeconds) {
      const options = {
        signingKeys: key,
        signingKeyIDs: signing.id,
        // A signature from before its key is none: packages may well be older than the key.
        date: new Date(Math.max(dateSeconds * 1000, signing.sinceMs)),
        config: signingConfig,
      };
      try {
        // The line feed before the signature belongs to the armour, not to the text.
        const text = await createCleartextMessage({ text: release.replace(/\n$/, "") });
        const message = await createMessage({ binary: Buffer.from(release) });
        // Side by side: the library signs with RSA in threads, and a ping waits for both.
        const clear: Promise<string> = sign({ ...options, message: text });
        const detached: Promise<unknown> = sign({ ...options, message, detached: true });
        const [inRelease, releaseGpg] = await Promise.all([clear, detached]);
        return {
          // The text is signed with the line ends of the mail of old; Release has others, and so has what clients store.
          inRelease: inRelease.replaceAll("\r\n", "\n"),
          // A string by the default format, which the library's stream types hide from the compiler.
          releaseGpg: String(releaseGpg),
        };
      } catch (thrown) {
        throw new UnfitKey(`the signing key can't sign any more: ${messageOf(thrown)}; ${advice}`);
      }
    },
  };
}

interface SigningKey {
  readonly id: KeyID;
  /** Since when the key and what binds it to its owner are valid, in ms since the epoch. */
  readonly sinceMs: number;
}

async function readKey(armored: Secret): Promise<PrivateKey> {
  try {
    return await readPrivateKey({ armoredKey: armored.reveal() });
  } catch (thrown) {
    throw new UnfitKey(`this is no armoured OpenPGP private key of version 4: ${messageOf(thrown)}; ${advice}`);
  }
}

async function unlocked(key: PrivateKey, passphrase: Secret | undefined): Promise<PrivateKey> {
  if (key.isDecrypted()) return key;
  if (passphrase === undefined) throw new UnfitKey("the signing key has a passphrase: give the file that holds it");
  try {
    return await decryptKey({ privateKey: key, passphrase: passphrase.reveal() });
  } catch {
    // The library's message is of no more use, and it has seen the passphrase.
    throw new UnfitKey("the passphrase does not open the signing key");
  }
}

/** The key that will sign: the newest signing sub-key, or the primary key. */
async function fitSigningKey(key: PrivateKey, date: Date): Promise<SigningKey> {
  if (key.keyPacket.version !== 4) {
    throw new UnfitKey(`the signing key has version ${key.keyPacket.version}, and APT knows 4 alone; ${advice}`);
  }
  const expiry = await key.getExpirationTime();
  if (expiry instanceof Date && expiry <= date) {
    const when = expiry.toISOString().slice(0, 10);
    throw new UnfitKey(`the signing key expired on ${when}: extend it (gpg --quick-set-expire) and export it again`);
  }
  checkAlgorithm(key);
  const signing = await key.getSigningKey(undefined, date).catch((thrown: unknown) => {
    throw new UnfitKey(`no part of this key can sign now: ${messageOf(thrown)}; ${advice}`);
  });
  const bindings = [(await key.getPrimaryUser(date)).selfCertification];
  if (signing instanceof Subkey) {
    checkAlgorithm(signing);
    const binding = await signing.verify(date);
    bindings.push(binding, ...(binding.embeddedSignature === null ? [] : [binding.embeddedSignature]));
  }
  if (bindings.some(({ hashAlgorithm }) => hashAlgorithm === enums.hash.sha1)) {
    throw new UnfitKey("the key's own signatures use SHA-1: renew them (gpg --quick-set-expire) and export it again");
  }
  const created = [key.getCreationTime(), signing.getCreationTime(), ...bindings.map((binding) => binding.created)];
  return { id: signing.getKeyID(), sinceMs: Math.max(...created.map((time) => time?.getTime() ?? 0)) };
}

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
