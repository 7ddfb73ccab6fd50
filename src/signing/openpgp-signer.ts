// Signs with OpenPGP keys held in memory: each Release carries a signature of every key that has not expired.
import type { PartialConfig } from "openpgp";
import { armor, createCleartextMessage, enums, generateKey, PacketList, sign } from "openpgp";
import type { Clock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import { Secret } from "../base/secret.ts";
import type { KeyFile, OpenedKey } from "./openpgp-key.ts";
import { openKey, UnfitKey } from "./openpgp-key.ts";
import type { Signer } from "./signer.ts";

/** What we make ourselves: old verifiers know RSA alone, and this length lasts. */
const newRsaBits = 4096;

/** @see RFC 4880 6.2 */
const signatureBegin = "-----BEGIN PGP SIGNATURE-----";

/** Given with each call, so that nobody else's OpenPGP in this process changes. */
const signingConfig: PartialConfig = {
  // Otherwise a random notation goes into each signature, and equal Releases differ.
  nonDeterministicSignaturesViaNotation: false,
  preferredHashAlgorithm: enums.hash.sha512,
  showVersion: false,
  showComment: false,
};

/** A new key is dated back by this: no signature may be older than its key, and Release's Date lags behind the clock. */
export const keyDatedBackMs = 24 * 3600 * 1000;

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
    date: new Date(now() - keyDatedBackMs),
    format: "armored",
    config: signingConfig,
  });
  return new Secret(privateKey);
}

/**
 * Opens keys to sign with, all at once: gpgv and sqv are content with one signature that they can verify. Signatures
 * are deterministic.
 * @param files at least one
 * @param passphrases of the keys that are locked, in any order
 * @throws UnfitKey if one of them is unfit, or all have expired
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
        // A signature from before its key is none: packages may well be older than the key.
        date: new Date(Math.max(dateSeconds * 1000, ...fit.map(({ sinceMs }) => sinceMs))),
        config: signingConfig,
      };
      try {
        // With its last line end the text is Release itself, to the byte, so one signature is enough for both, and a
        // ping waits for one.
        const message = await createCleartextMessage({ text: release });
        const signed = await sign({ ...options, message });
        // The text is signed with the line ends of the mail of old; Release has others, and so has what clients store.
        const inRelease = signed.replaceAll("\r\n", "\n");
        return { inRelease, releaseGpg: inRelease.slice(inRelease.lastIndexOf(signatureBegin)) };
      } catch (thrown) {
        throw new UnfitKey(`${namesOf(fit)}: can't sign any more: ${messageOf(thrown)}`);
      }
    },
  };
}

/** Those that have not expired. @throws UnfitKey if there are none */
function fitKeys(keys: readonly OpenedKey[], dateMs: number): readonly OpenedKey[] {
  const fit = keys.filter(({ expiresAtSeconds = Number.POSITIVE_INFINITY }) => expiresAtSeconds * 1000 > dateMs);
  if (fit.length > 0) return fit;
  const last = Math.max(...keys.map(({ expiresAtSeconds = 0 }) => expiresAtSeconds));
  const when = new Date(last * 1000).toISOString().slice(0, 10);
  const what = "extend the key (gpg --quick-set-expire) and export it again";
  throw new UnfitKey(`${namesOf(keys)}: can't sign any more, expired on ${when}: ${what}`);
}

const namesOf = (keys: readonly OpenedKey[]): string => keys.map(({ file }) => file).join(", ");
