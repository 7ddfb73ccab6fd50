// What names bytes: equal ids, equal bytes. In Tahoe it is the immutable cap and so a secret.
import { createHash } from "node:crypto";
import { inspect } from "node:util";

/**
 * The identity of immutable bytes, as its storage names them (a `URI:CHK:…` cap, or a file's device, inode, size and
 * times of writing and birth). Prints as its key, because a cap is authority.
 */
export class ContentId {
  readonly #raw: string;
  #key: string | undefined;

  constructor(raw: string) {
    this.#raw = raw;
  }

  /** 43 characters of base64url, a hash of the id: fit for logs, maps and database keys. */
  get key(): string {
    // Most ids are of files that are listed once more and only compared.
    this.#key ??= createHash("sha256").update(this.#raw).digest("base64url");
    return this.#key;
  }

  /** The same id without the key that it remembers: for who holds many for long, and asks for few keys. */
  withoutKey(): ContentId {
    return this.#key === undefined ? this : new ContentId(this.#raw);
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
