// Whether a Release was really signed by given keys: what a client asks, for those who check a repository.
import type { Key } from "openpgp";
import { createMessage, readCleartextMessage, readKeys, readSignature, verify } from "openpgp";
import { messageOf } from "../base/errors.ts";

/** Who signed a text, and what of it was signed. */
export interface Verdict {
  /** Fingerprints of the keys whose signatures are good, 40 upper-case hex digits each. */
  readonly goodFingerprints: readonly string[];
  /** Why each of the other signatures is not good, or why nothing could be read. */
  readonly complaints: readonly string[];
  /** The signed text; undefined if it could not be read. */
  readonly text: string | undefined;
}

/** @param armored one block or several, as `key.asc` is served @throws what openpgp throws for what is no key */
export const readPublicKeys = async (armored: string): Promise<readonly Key[]> =>
  await readKeys({ armoredKeys: armored });

export const fingerprintOf = (key: Key): string => key.getFingerprint().toUpperCase();

/** @see RFC 4880 7, on clear-signed text */
export async function verifyInRelease(inRelease: string, keys: readonly Key[], now: Date): Promise<Verdict> {
  try {
    const message = await readCleartextMessage({ cleartextMessage: inRelease });
    const { signatures } = await verify({ message, verificationKeys: [...keys], date: now });
    // The line feed before the signature belongs to the armour: it is the text's last one where that has none itself.
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
