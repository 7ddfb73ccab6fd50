// A cap, token or passphrase that prints as a fingerprint.
import { createHash, timingSafeEqual } from "node:crypto";
import { inspect } from "node:util";

/** Contains one secret. Only the adapter that must send it calls `reveal`. */
export class Secret {
  readonly #value: string;
  constructor(value: string) {
    this.#value = value;
  }
  reveal(): string {
    return this.#value;
  }
  /** Compares in constant time. */
  equals(candidate: string): boolean {
    return timingSafeEqual(sha256(this.#value), sha256(candidate));
  }
  /** Whether both contain the same text. */
  isSame(other: Secret): boolean {
    return this.equals(other.#value);
  }
  toString(): string {
    return `secret:${sha256(this.#value).toString("hex").slice(0, 8)}`;
  }
  toJSON(): string {
    return this.toString();
  }
  [inspect.custom](): string {
    return this.toString();
  }
}

const sha256 = (text: string): Buffer => createHash("sha256").update(text).digest();
