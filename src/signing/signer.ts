// The interface of signers, which make InRelease and Release.gpg from a Release.

/** Both signed forms of a Release. Equal text and date give equal bytes. */
export interface SignedRelease {
  /** The Release with a cleartext signature, and no unsigned text before or after. */
  readonly inRelease: string;
  /** The detached signatures, ASCII-armoured. */
  readonly releaseGpg: string;
}

/** The public properties of a key. */
export interface SigningKey {
  /** The fingerprint of the primary key: 40 upper-case hex digits. @see RFC 4880 12.2 */
  readonly fingerprint: string;
  /** The fingerprint of the part that signs: the primary key or a sub-key. */
  readonly signingFingerprint: string;
  /** When the key or its signing sub-key expires, in seconds since the epoch; undefined: never. */
  readonly expiresAtSeconds: number | undefined;
  /** The creation time, or that of the newest self-signature, in seconds since the epoch. */
  readonly changedAtSeconds: number;
}

/** More keys than a rotation needs at the same time. */
export const maxSigningKeys = 9;

/** Signs with all its keys: clients that trust one of them can verify. */
export interface Signer {
  /** All public keys in one ASCII-armoured block. */
  readonly publicKey: string;
  /** The same without the armour. */
  readonly publicKeyBytes: Uint8Array;
  /** At least one, in the order of the configuration. */
  readonly keys: readonly SigningKey[];
  /**
   * @param dateSeconds the Date of Release, in seconds since the epoch. It becomes the creation time of the signatures,
   *   unless a key is younger: then the signature has the time since when the key is valid
   */
  sign(release: string, dateSeconds: number): Promise<SignedRelease>;
}
