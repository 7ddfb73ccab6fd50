// A write-behind cache: values can be read as soon as they are put, and are written to disk soon after.
import type { Database } from "lmdb";

/** The number and size of unwritten values, which limits the memory in use. */
const maxUnwritten = 1024;
const maxUnwrittenBytes = 16 * 1024 * 1024;

/** For values that can be made again, because a crash or a full disk may lose some. */
export class WriteBehind {
  readonly #database: Database<Buffer, string>;
  /** Values that are being written. */
  readonly #unwritten = new Map<string, Buffer>();
  /** The size of all values that are being written. */
  #unwrittenBytes = 0;

  /** @param database a separate database with binary values */
  constructor(database: Database<Buffer, string>) {
    this.#database = database;
  }

  get(key: string): Buffer | undefined {
    return this.#unwritten.get(key) ?? this.#database.get(key);
  }

  /** Like `get`, but the returned bytes are valid only until the next call. */
  getTemporary(key: string): Buffer | undefined {
    const unwritten = this.#unwritten.get(key);
    const bytes = unwritten ?? this.#database.getBinaryFast(key);
    // lmdb reuses one buffer, which is as long as its longest value.
    return bytes?.subarray(0, bytes.length);
  }

  /** Stores a value. Await this before the next call: it resolves immediately unless too much is unwritten. */
  async put(key: string, value: Buffer): Promise<void> {
    this.#unwritten.set(key, value);
    this.#unwrittenBytes += value.length;
    const forget = () => {
      this.#unwrittenBytes -= value.length;
      if (this.#unwritten.get(key) === value) this.#unwritten.delete(key);
    };
    const writing = this.#database.put(key, value).then(forget, forget);
    if (this.#unwritten.size >= maxUnwritten || this.#unwrittenBytes >= maxUnwrittenBytes) await writing;
  }
}
