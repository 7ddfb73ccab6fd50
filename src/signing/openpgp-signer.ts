// Signs with OpenPGP keys held in memory: each Release carries a signature of every key that has not expired.
import type { PartialConfig } from "openpgp";
import { armor, enums, generateKey, PacketList } from "openpgp";
import type { Clock } from "../base/clock.ts";
import { Secret } from "../base/secret.ts";
import type { KeyFile, OpenedKey } from "./openpgp-key.ts";
import { openKey, UnfitKey } from "./openpgp-key.ts";
import type { SignatureKind } from "./signature.ts";
import { signature } from "./signature.ts";
import type { Signer } from "./signer.ts";

/** What we make ourselves: old verifiers know RSA alone, and this length lasts. */
const newRsaBits = 4096;

/** Given with the call, so that nobody else's OpenPGP in this process changes. */
const signingConfig: PartialConfig = {
  // Otherwise a random notation goes into each signature, and equal Releases differ.
  nonDeterministicSignaturesViaNotation: false,
  preferredHashAlgorithm: enums.hash.sha512,
  showVersion: false,
  showComment: false,
};

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
    publicKey: armored(enums.armor.publicKey, publicKeyBytes),
    publicKeyBytes,
    keys: keys.map(({ fingerprint, signingFingerprint, expiresAtSeconds, changedAtSeconds }) => ({
      fingerprint,
      signingFingerprint,
      expiresAtSeconds,
      changedAtSeconds,
    })),
    async sign(release, dateSeconds) {
      const fit = fitKeys(keys, dateSeconds * 1000);
      // A signature from before its key is none: packages may well be older than the key.
      const madeAtSeconds = Math.max(dateSeconds, ...fit.map(({ sinceMs }) => Math.floor(sinceMs / 1000)));
      // The line feed before the signature belongs to the armour, not to the text.
      const text = release.replace(/\n$/, "");
      const by = async (kind: SignatureKind, signed: string): Promise<Uint8Array> =>
        Buffer.concat(await Promise.all(fit.map(({ part }) => signature(kind, signed, madeAtSeconds, part))));
      // Side by side, in Node's own threads: a ping waits for both.
      const [clear, detached] = await Promise.all([
        by(enums.signature.text, text),
        by(enums.signature.binary, release),
      ]);
      return {
        inRelease: armored(enums.armor.signed, { text, hash: "SHA512", data: clear }),
        releaseGpg: armored(enums.armor.signature, detached),
      };
    },
  };
}

/** With a checksum: without one, some versions of gpg misread what ends with the end of a line. */
const armored = (kind: enums.armor, body: object): string => armor(kind, body, undefined, undefined, undefined, true);

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
