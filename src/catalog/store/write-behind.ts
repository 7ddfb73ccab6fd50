// Bytes that can be read from the moment they are put, and are on disk soon after.
import type { Database } from "lmdb";

/** How many values may wait to be written, and of how many bytes: bounds on memory. */
const maxUnwritten = 1024;
const maxUnwrittenBytes = 16 * 1024 * 1024;

/** For what can be made again: a value is lost to a kill or a full disk that comes before it is written. */
export class WriteBehind {
  readonly #written: Database<Buffer, string>;
  /** What is on its way to the disk. */
  readonly #unwritten = new Map<string, Buffer>();
  /** Of all values whose writing has not ended. */
  #unwrittenBytes = 0;

  /** @param written a database of its own, of bytes as they are */
  constructor(written: Database<Buffer, string>) {
    this.#written = written;
  }

  get(key: string): Buffer | undefined {
    return this.#unwritten.get(key) ?? this.#written.get(key);
  }

  /** As `get`, of bytes that hold only until the next glimpse. */
  getTemporary(key: string): Buffer | undefined {
    const unwritten = this.#unwritten.get(key);
    const bytes = unwritten ?? this.#written.getBinaryFast(key);
    // The buffer is as long as the longest that it ever held.
    return bytes?.subarray(0, bytes.length);
  }

  /** Resolves when the next may come: waiting for each to be written would wait for the disk each time. */
  async put(key: string, value: Buffer): Promise<void> {
    this.#unwritten.set(key, value);
    this.#unwrittenBytes += value.length;
    const forget = () => {
      this.#unwrittenBytes -= value.length;
      if (this.#unwritten.get(key) === value) this.#unwritten.delete(key);
    };
    const writing = this.#written.put(key, value).then(forget, forget);
    if (this.#unwritten.size >= maxUnwritten || this.#unwrittenBytes >= maxUnwrittenBytes) await writing;
  }
}
