// The most memory that one or several servers, one after the other, ever had.
import { readFileSync } from "node:fs";

const everyMs = 50;

export class MemoryWatch {
  /** Memory that no file stands behind: the heaps and buffers of all threads. */
  anonymousBytes = 0;
  /** All that is resident, pages of mapped files (the ledger's, the program's) among it. */
  residentBytes = 0;
  readonly #timer: NodeJS.Timeout;

  /** @param pid tells whom to look at */
  constructor(pid: () => number | undefined) {
    this.#timer = setInterval(() => this.#look(pid()), everyMs);
    this.#timer.unref();
  }

  /** Begins anew. */
  forget(): void {
    this.anonymousBytes = 0;
    this.residentBytes = 0;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(pid: number | undefined): void {
    if (pid === undefined) return;
    try {
      const status = readFileSync(`/proc/${pid}/status`, "utf8");
      const bytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1] ?? 0) * 1024;
      this.anonymousBytes = Math.max(this.anonymousBytes, bytes("RssAnon") + bytes("RssShmem"));
      this.residentBytes = Math.max(this.residentBytes, bytes("VmRSS"));
    } catch {
      // It has just ended.
    }
  }
}
