// Reads files of the server to verify, over HTTP. Nothing is trusted, and sizes and durations are limited.
import fetch from "node-fetch";
import type { Clock } from "../base/clock.ts";
import { messageOf, RepoError } from "../base/errors.ts";
import { RunningDigests } from "../debian/digests.ts";
import type { VerifiedServer } from "./verify-suite.ts";

/** The server does not respond, or sends an invalid response. */
class ServerUnavailable extends RepoError {
  readonly code = "verify/site-unavailable";
}

/** The timeout from the request to the response, and between two chunks of it. */
const silenceMs = 60_000;
/** The minimum rate of a response; `silenceMs` is added to the allowed time. */
const minBytesPerSecond = 4096;

type FileDigest = Awaited<ReturnType<VerifiedServer["measure"]>> & object;

/** The server to verify, accessed over HTTP. */
export class RemoteServer implements VerifiedServer {
  readonly #url: string;
  readonly #signal: AbortSignal;
  readonly #clock: Clock;

  /** @param url the URL of the repository's root, without a trailing slash */
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

  async measure(path: string, maxBytes: number): Promise<FileDigest | undefined> {
    return await this.#get(path, maxBytes, () => undefined);
  }

  async #get(path: string, maxBytes: number, onChunk: (chunk: Uint8Array) => void): Promise<FileDigest | undefined> {
    const url = `${this.#url}/${path.split("/").map(encodeURIComponent).join("/")}`;
    const timeout = new AbortController();
    const startedMs = this.#clock();
    let timer = setTimeout(() => timeout.abort(new Error("no response in time")), silenceMs);
    try {
      const response = await fetch(url, { signal: AbortSignal.any([this.#signal, timeout.signal]) });
      if (url.startsWith("https:") && !response.url.startsWith("https:"))
        throw new ServerUnavailable(`${url} redirects to a URL without TLS`);
      if (response.status === 404) return undefined;
      if (!response.ok) throw new ServerUnavailable(`${url} responds with status ${response.status}`);
      const running = new RunningDigests([]);
      let sizeBytes = 0;
      for await (const part of response.body ?? []) {
        const chunk = (typeof part === "string" ? Buffer.from(part) : part).subarray(0, maxBytes - sizeBytes);
        sizeBytes += chunk.length;
        clearTimeout(timer);
        timer = setTimeout(() => timeout.abort(new Error("the response stalled")), silenceMs);
        if (this.#clock() - startedMs > silenceMs + (sizeBytes * 1000) / minBytesPerSecond)
          throw new ServerUnavailable(`${url} is slower than ${minBytesPerSecond} bytes per second`);
        running.update(chunk);
        onChunk(chunk);
        if (sizeBytes === maxBytes) break;
      }
      return { sizeBytes, sha256: running.finish().digests.sha256 };
    } catch (thrown) {
      this.#signal.throwIfAborted();
      if (thrown instanceof ServerUnavailable) throw thrown;
      const why: unknown = timeout.signal.aborted ? timeout.signal.reason : thrown;
      throw new ServerUnavailable(`${url}: ${messageOf(why)}`);
    } finally {
      clearTimeout(timer);
      timeout.abort();
    }
  }
}
