// The signer port: keys that turn a Release into InRelease and Release.gpg.

/** Both signed forms of one Release. Equal text and date give equal bytes. */
export interface SignedRelease {
  /** Clear-signed, beginning with its first byte and with no unsigned tail. */
  readonly inRelease: string;
  /** The detached signatures, armoured. */
  readonly releaseGpg: string;
}

/** One key of a signer, as everybody may see it. */
export interface SigningKey {
  /** The primary key's: 40 upper-case hex digits. @see RFC 4880 12.2 */
  readonly fingerprint: string;
  /** Of the part that makes the signatures: the primary key or a sub-key. */
  readonly signingFingerprint: string;
  /** When the key or its signing sub-key ends, in seconds since the epoch; undefined: never. */
  readonly expiresAtSeconds: number | undefined;
  /** When it was made or last signed anything about itself, in seconds since the epoch. */
  readonly changedAtSeconds: number;
}

/** More keys than a rotation ever needs at once. */
export const maxSigningKeys = 9;

/** Signs with every key that it has: who trusts one of them can verify. */
export interface Signer {
  /** ASCII-armoured transferable public keys, all in one block. */
  readonly publicKey: string;
  /** The same without the armour. */
  readonly publicKeyBytes: Uint8Array;
  /** At least one, in the order of the configuration. */
  readonly keys: readonly SigningKey[];
  /**
   * @param dateSeconds the signatures' creation time, seconds since the epoch: Release's Date, and where a key is
   * younger, since when that is valid
   */
  sign(release: string, dateSeconds: number): Promise<SignedRelease>;
}
