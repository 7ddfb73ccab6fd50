// The signer port: a key that turns a Release into InRelease and Release.gpg.

/** Both signed forms of one Release. Equal text and date give equal bytes. */
export interface SignedRelease {
  /** Clear-signed, beginning with its first byte and with no unsigned tail. */
  readonly inRelease: string;
  /** The detached signature, armoured. */
  readonly releaseGpg: string;
}

/** Signs with one key. */
export interface Signer {
  /** ASCII-armoured transferable public key. */
  readonly publicKey: string;
  /** 40 upper-case hex digits. @see RFC 4880 12.2 */
  readonly fingerprint: string;
  /** @param dateSeconds the signature's creation time, seconds since the epoch: Release's Date */
  sign(release: string, dateSeconds: number): Promise<SignedRelease>;
}
