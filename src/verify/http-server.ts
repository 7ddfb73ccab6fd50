// A public server that is to be verified, over HTTP. Nothing that it says is believed, and no answer is without end.
import fetch from "node-fetch";
import type { Clock } from "../base/clock.ts";
import { messageOf, RepoError } from "../base/errors.ts";
import { RunningDigests } from "../debian/digests.ts";
import type { VerifiedServer } from "./verify-suite.ts";

/** The server can't be asked, or gives no sensible answer. */
class ServerUnavailable extends RepoError {
  readonly code = "verify/site-unavailable";
}

/** From the request to the head of the answer, and from one piece of it to the next. */
const silenceMs = 60_000;
/** An answer gets the time for its bytes at this rate, and once the longest silence besides. */
const minBytesPerSecond = 4096;

type Read = Awaited<ReturnType<VerifiedServer["measure"]>> & object;

export class HttpServer implements VerifiedServer {
  readonly #url: string;
  readonly #signal: AbortSignal;
  readonly #clock: Clock;

  /** @param url of the repository's root, without a trailing slash */
  constructor(url: string, signal: AbortSignal, clock: Clock) {
    this.#url = url;
    this.#signal = signal;
    this.#clock = clock;
  }

  async read(path: string, maxBytes: number): Promise<Buffer | undefined> {
    const bytes = await this.readStart(path, maxBytes + 1);
    if (bytes !== undefined && bytes.length > maxBytes)
      throw new ServerUnavailable(`${this.#url}/${path} is longer than ${maxBytes} bytes`);
    return bytes;
  }

  async readStart(path: string, maxBytes: number): Promise<Buffer | undefined> {
    const chunks: Uint8Array[] = [];
    return (await this.#get(path, maxBytes, (chunk) => chunks.push(chunk))) && Buffer.concat(chunks);
  }

  async measure(path: string, maxBytes: number): Promise<Read | undefined> {
    return await this.#get(path, maxBytes, () => undefined);
  }

  async #get(path: string, maxBytes: number, take: (chunk: Uint8Array) => void): Promise<Read | undefined> {
    const url = `${this.#url}/${path.split("/").map(encodeURIComponent).join("/")}`;
    const silent = new AbortController();
    const begunMs = this.#clock();
    let timer = setTimeout(() => silent.abort(new Error("no answer in time")), silenceMs);
    try {
      const response = await fetch(url, { signal: AbortSignal.any([this.#signal, silent.signal]) });
      if (url.startsWith("https:") && !response.url.startsWith("https:"))
        throw new ServerUnavailable(`${url} leads to a place without TLS`);
      if (response.status === 404) return undefined;
      if (!response.ok) throw new ServerUnavailable(`${url} answers with status ${response.status}`);
      const running = new RunningDigests([]);
      let sizeBytes = 0;
      for await (const piece of response.body ?? []) {
        const chunk = (typeof piece === "string" ? Buffer.from(piece) : piece).subarray(0, maxBytes - sizeBytes);
        sizeBytes += chunk.length;
        clearTimeout(timer);
        timer = setTimeout(() => silent.abort(new Error("the answer stopped")), silenceMs);
        if (this.#clock() - begunMs > silenceMs + (sizeBytes * 1000) / minBytesPerSecond)
          throw new ServerUnavailable(`${url} comes slower than ${minBytesPerSecond} bytes a second`);
        running.update(chunk);
        take(chunk);
        if (sizeBytes === maxBytes) break;
      }
      return { sizeBytes, sha256: running.finish().digests.sha256 };
    } catch (thrown) {
      this.#signal.throwIfAborted();
      if (thrown instanceof ServerUnavailable) throw thrown;
      const why: unknown = silent.signal.aborted ? silent.signal.reason : thrown;
      throw new ServerUnavailable(`${url}: ${messageOf(why)}`);
    } finally {
      clearTimeout(timer);
      silent.abort();
    }
  }
}
