// The identity of immutable bytes: equal ids mean equal bytes. In Tahoe it is the immutable cap, and so a secret.
import { hash } from "node:crypto";
import { inspect } from "node:util";

/**
 * Identifies immutable bytes as their storage does: by a `URI:CHK:…` cap, or by a file's device, inode, size, time of
 * modification and time of birth. It prints as its key, because a cap gives access.
 */
export class ContentId {
  readonly #raw: string;

  constructor(raw: string) {
    this.#raw = raw;
  }

  /** A hash of the id, 43 characters of base64url, for logs, maps and database keys. */
  get key(): string {
    // Not cached: most ids are only compared, and the hash takes a microsecond.
    return hash("sha256", this.#raw, "base64url");
  }

  /** Whether both identify the same bytes. */
  equals(other: ContentId | undefined): boolean {
    return other !== undefined && this.#raw === other.#raw;
  }

  /** The id as the storage made it. Only `storage/` may use it; the state directory may contain it. */
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
