// What names bytes: equal ids, equal bytes. In Tahoe it is the immutable cap and so a secret.
import { createHash } from "node:crypto";
import { inspect } from "node:util";

/**
 * The identity of immutable bytes, as its storage names them (a `URI:CHK:…` cap, or a file's device, inode, size and
 * times of writing and birth). Prints as its key, because a cap is authority.
 */
export class ContentId {
  readonly #raw: string;

  constructor(raw: string) {
    this.#raw = raw;
  }

  /** 43 characters of base64url, a hash of the id: fit for logs, maps and database keys. */
  get key(): string {
    // Not remembered: of many ids, most are compared alone, and a hash takes a microsecond.
    return createHash("sha256").update(this.#raw).digest("base64url");
  }

  /** Whether both name the same bytes. */
  equals(other: ContentId | undefined): boolean {
    return other !== undefined && this.#raw === other.#raw;
  }

  /** The id as storage gave it. Only `storage/` may use it, and the state directory may keep it. */
  reveal(): string {
    return this.#raw;
  }
  toString(): string {
    return `content:${this.key}`;
  }
  toJSON(): string {
    return this.toString();
  }
  [inspect.custom](): string {
    return this.toString();
  }
}
