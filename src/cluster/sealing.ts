// Encrypts and authenticates what is stored in Valkey: whoever can read or change it there gets no caps from it, and
// cannot put anything into our indices.
import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from "node:crypto";
import type { Secret } from "../base/secret.ts";

const algorithm = "aes-256-gcm";
const keyBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;
/** The first byte of each value. Another version of the program may use another form. */
const form = 1;

/** Values of one repository in Valkey. */
export class Sealing {
  readonly #key: Uint8Array;
  readonly #nameKey: Uint8Array;

  /**
   * @param secret what all servers of the fleet know and nobody else: the read cap of the tree
   * @param purpose separates the values of different repositories
   */
  constructor(secret: Secret, purpose: string) {
    this.#key = derivedKey(secret, purpose);
    this.#nameKey = derivedKey(secret, `names of ${purpose}`);
  }

  /** A name for a key of Valkey that does not show what it stands for, 43 characters of base64url. */
  nameOf(meaning: string): string {
    return createHmac("sha256", this.#nameKey).update(meaning).digest("base64url");
  }

  /** @param name where the value is stored: it opens under this name only */
  seal(name: string, value: Uint8Array): Buffer {
    const nonce = randomBytes(nonceBytes);
    const cipher = createCipheriv(algorithm, this.#key, nonce);
    cipher.setAAD(Buffer.from(name));
    const parts = [cipher.update(value), cipher.final()];
    return Buffer.concat([Buffer.of(form), nonce, cipher.getAuthTag(), ...parts]);
  }

  /** @returns undefined for a value that nobody of this fleet has sealed under this name */
  open(name: string, sealed: Uint8Array): Buffer | undefined {
    if (sealed[0] !== form || sealed.length < 1 + nonceBytes + tagBytes) return undefined;
    const [nonce, tag, rest] = [
      sealed.subarray(1, 1 + nonceBytes),
      sealed.subarray(1 + nonceBytes, 1 + nonceBytes + tagBytes),
      sealed.subarray(1 + nonceBytes + tagBytes),
    ];
    const decipher = createDecipheriv(algorithm, this.#key, nonce);
    decipher.setAAD(Buffer.from(name));
    decipher.setAuthTag(tag);
    try {
      return Buffer.concat([decipher.update(rest), decipher.final()]);
    } catch {
      return undefined;
    }
  }
}

const derivedKey = (secret: Secret, purpose: string): Uint8Array =>
  new Uint8Array(hkdfSync("sha256", secret.reveal(), "tahoe-apt cluster", purpose, keyBytes));
