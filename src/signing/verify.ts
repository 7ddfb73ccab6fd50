// Verifies the signatures of a Release with given keys, as a client does.
import type { Key } from "openpgp";
import { createMessage, readCleartextMessage, readKeys, readSignature, verify } from "openpgp";
import { messageOf } from "../base/errors.ts";

/** The result of verifying a text. */
export interface Verdict {
  /** Fingerprints of the keys with good signatures, 40 upper-case hex digits each. */
  readonly goodFingerprints: readonly string[];
  /** Why other signatures are not good, or why the text could not be read. */
  readonly complaints: readonly string[];
  /** The signed text; undefined if it could not be read. */
  readonly text: string | undefined;
}

/** @param armored one or several blocks, as in `key.asc` @throws an error of openpgp for anything that is not a key */
export const readPublicKeys = async (armored: string): Promise<readonly Key[]> =>
  await readKeys({ armoredKeys: armored });

/**
 * Reads the keys of a keyring as clients have them: armoured (.asc, any number of blocks) or binary (.gpg).
 * @throws an error of openpgp for anything that is not a key
 */
export async function readKeyring(bytes: Uint8Array): Promise<readonly Key[]> {
  const text = Buffer.from(bytes).toString("latin1");
  const blocks = text.match(/-----BEGIN PGP PUBLIC KEY BLOCK-----[\s\S]*?-----END PGP PUBLIC KEY BLOCK-----/g);
  if (blocks === null) return await readKeys({ binaryKeys: bytes });
  return (await Promise.all(blocks.map(readPublicKeys))).flat();
}

export const fingerprintOf = (key: Key): string => key.getFingerprint().toUpperCase();

const signedMessage = /^-----BEGIN PGP SIGNED MESSAGE-----\r?\n[\s\S]*\n-----END PGP SIGNATURE-----\s*$/;

/** @see RFC 4880 7, on cleartext signatures */
export async function verifyInRelease(inRelease: string, keys: readonly Key[], now: Date): Promise<Verdict> {
  // Nobody has signed such text, and apt rejects the whole file.
  if (!signedMessage.test(inRelease))
    return { goodFingerprints: [], complaints: ["there is text before or after the signed message"], text: undefined };
  try {
    const message = await readCleartextMessage({ cleartextMessage: inRelease });
    const { signatures } = await verify({ message, verificationKeys: [...keys], date: now });
    // The line feed before the signature belongs to the armour, not to the text; add it, as Release ends with one.
    const text = message.getText().replaceAll("\r\n", "\n").replace(/\n?$/, "\n");
    return { ...(await judged(signatures, keys)), text };
  } catch (thrown) {
    return { goodFingerprints: [], complaints: [messageOf(thrown)], text: undefined };
  }
}

export async function verifyDetached(
  release: string,
  releaseGpg: string,
  keys: readonly Key[],
  now: Date,
): Promise<Verdict> {
  try {
    const [message, signature] = await Promise.all([
      createMessage({ binary: Buffer.from(release) }),
      readSignature({ armoredSignature: releaseGpg }),
    ]);
    const { signatures } = await verify({ message, signature, verificationKeys: [...keys], date: now });
    return { ...(await judged(signatures, keys)), text: release };
  } catch (thrown) {
    return { goodFingerprints: [], complaints: [messageOf(thrown)], text: undefined };
  }
}

type Signatures = Awaited<ReturnType<typeof verify>>["signatures"];

async function judged(
  signatures: Signatures,
  keys: readonly Key[],
): Promise<Pick<Verdict, "goodFingerprints" | "complaints">> {
  const goodFingerprints: string[] = [];
  const complaints: string[] = [];
  for (const { keyID, verified } of signatures) {
    const key = keys.find((one) => one.getKeyIDs().some((id) => id.equals(keyID)));
    try {
      await verified;
      if (key !== undefined) goodFingerprints.push(fingerprintOf(key));
    } catch (thrown) {
      complaints.push(`the signature by ${keyID.toHex().toUpperCase()}: ${messageOf(thrown)}`);
    }
  }
  return { goodFingerprints, complaints };
}
