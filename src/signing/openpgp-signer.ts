// Signs with OpenPGP keys in memory. Each Release gets a signature of every key that has not expired.
import type { PartialConfig } from "openpgp";
import { armor, createCleartextMessage, enums, generateKey, PacketList, sign } from "openpgp";
import type { Clock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import { Secret } from "../base/secret.ts";
import type { KeyFile, OpenedKey } from "./openpgp-key.ts";
import { openKey, UnfitKey } from "./openpgp-key.ts";
import type { Signer } from "./signer.ts";

/** The size of new keys: old verifiers support only RSA, and this length is enough for years. */
const newRsaBits = 4096;

/** @see RFC 4880 6.2 */
const signatureBegin = "-----BEGIN PGP SIGNATURE-----";

/** Passed with each call, because the global configuration would also affect other users of the library. */
const signingConfig: PartialConfig = {
  // Otherwise each signature contains random data, and signatures of equal Releases differ.
  nonDeterministicSignaturesViaNotation: false,
  preferredHashAlgorithm: enums.hash.sha512,
  showVersion: false,
  showComment: false,
};

/**
 * The creation time of a new key is moved back by this: a signature must not be older than its key, and Date is in the
 * past.
 */
export const keyDatedBackMs = 24 * 3600 * 1000;

/**
 * Creates a private RSA-4096 key that can only sign and never expires.
 * @param name the name of the repository, which becomes the user id of the key
 * @returns the key, ASCII-armoured, without a passphrase
 */
export async function createSigningKey({ name, now }: { readonly name: string; readonly now: Clock }): Promise<Secret> {
  const { privateKey } = await generateKey({
    type: "rsa",
    rsaBits: newRsaBits,
    userIDs: { name },
    subkeys: [],
    date: new Date(now() - keyDatedBackMs),
    format: "armored",
    config: signingConfig,
  });
  return new Secret(privateKey);
}

/**
 * Opens keys that all sign: gpgv and sqv need only one signature that they can verify. Signatures are deterministic.
 * @param files at least one
 * @param passphrases for locked keys, in any order
 * @throws UnfitKey if one key cannot be used, or if all have expired
 */
export async function openpgpSigner(
  files: readonly KeyFile[],
  { passphrases = [], now }: { readonly passphrases?: readonly Secret[]; readonly now: Clock },
): Promise<Signer> {
  const keys = await Promise.all(files.map((file) => openKey(file, { passphrases, now })));
  fitKeys(keys, now());
  const certificates = new PacketList();
  for (const { key } of keys) certificates.push(...key.toPublic().toPacketList());
  const publicKeyBytes = certificates.write();
  return {
    publicKey: armor(enums.armor.publicKey, publicKeyBytes, undefined, undefined, undefined, true),
    publicKeyBytes,
    keys: keys.map(({ fingerprint, signingFingerprint, expiresAtSeconds, changedAtSeconds }) => ({
      fingerprint,
      signingFingerprint,
      expiresAtSeconds,
      changedAtSeconds,
    })),
    async sign(release, dateSeconds) {
      const fit = fitKeys(keys, Math.max(dateSeconds * 1000, now()));
      const options = {
        signingKeys: fit.map(({ key }) => key),
        signingKeyIDs: fit.map(({ id }) => id),
        // A signature that is older than its key is invalid, and packages may be older than the key.
        date: new Date(Math.max(dateSeconds * 1000, ...fit.map(({ sinceMs }) => sinceMs))),
        config: signingConfig,
      };
      try {
        // With the last line end, the signed text is Release byte for byte, so the same signature is used for InRelease
        // and Release.gpg, and a ping waits for only one.
        const message = await createCleartextMessage({ text: release });
        const signed = await sign({ ...options, message });
        // OpenPGP signs text with CRLF line ends; Release has LF, and so does the text that clients store.
        const inRelease = signed.replaceAll("\r\n", "\n");
        return { inRelease, releaseGpg: inRelease.slice(inRelease.lastIndexOf(signatureBegin)) };
      } catch (thrown) {
        throw new UnfitKey(`${namesOf(fit)}: cannot sign any more: ${messageOf(thrown)}`);
      }
    },
  };
}

/** The keys that have not expired. @throws UnfitKey if there are none */
function fitKeys(keys: readonly OpenedKey[], dateMs: number): readonly OpenedKey[] {
  const fit = keys.filter(({ expiresAtSeconds = Number.POSITIVE_INFINITY }) => expiresAtSeconds * 1000 > dateMs);
  if (fit.length > 0) return fit;
  const last = Math.max(...keys.map(({ expiresAtSeconds = 0 }) => expiresAtSeconds));
  const when = new Date(last * 1000).toISOString().slice(0, 10);
  const what = "extend the key (gpg --quick-set-expire) and export it again";
  throw new UnfitKey(`${namesOf(keys)}: cannot sign any more, expired on ${when}: ${what}`);
}

const namesOf = (keys: readonly OpenedKey[]): string => keys.map(({ file }) => file).join(", ");
