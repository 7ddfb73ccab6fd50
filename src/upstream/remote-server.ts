// Reads files of a public repository over HTTP. The server is not trusted: sizes and durations are limited.
import fetch from "node-fetch";
import type { Clock } from "../base/clock.ts";
import { messageOf, RepoError } from "../base/errors.ts";
import { RunningDigests } from "../debian/digests.ts";
import type { RepositoryFiles } from "./repository-files.ts";

/** The server does not respond, or sends an invalid response. */
export class ServerUnavailable extends RepoError {
  readonly code = "verify/site-unavailable";
}

/** The timeout from the request to the response, and between two chunks of it. */
const silenceMs = 60_000;
/** The minimum rate of a response; `silenceMs` is added to the allowed time. */
const minBytesPerSecond = 4096;
/** The number of redirects that one request follows. */
const maxRedirects = 5;

interface FileDigest {
  readonly sizeBytes: number;
  readonly sha256: string;
}

/** A public repository, accessed over HTTP. */
export class RemoteServer implements RepositoryFiles {
  readonly address: string;
  readonly #signal: AbortSignal;
  readonly #clock: Clock;

  /** @param url the URL of the repository's root, without a trailing slash */
  constructor(url: string, signal: AbortSignal, clock: Clock) {
    this.address = url;
    this.#signal = signal;
    this.#clock = clock;
  }

  async read(path: string, maxBytes: number): Promise<Buffer | undefined> {
    const bytes = await this.readStart(path, maxBytes + 1);
    if (bytes !== undefined && bytes.length > maxBytes)
      throw new ServerUnavailable(`${this.address}/${path} is longer than ${maxBytes} bytes`);
    return bytes;
  }

  /** Reads up to `maxBytes` from the start of a file. */
  async readStart(path: string, maxBytes: number): Promise<Buffer | undefined> {
    const content = await this.open(path, maxBytes);
    if (content === undefined) return undefined;
    const chunks: Uint8Array[] = [];
    for await (const chunk of content) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  /** Computes the size and digest of a file. @param maxBytes the read stops after this size */
  async measure(path: string, maxBytes: number): Promise<FileDigest | undefined> {
    const content = await this.open(path, maxBytes);
    if (content === undefined) return undefined;
    const running = new RunningDigests([]);
    for await (const chunk of content) running.update(chunk);
    const { sizeBytes, digests } = running.finish();
    return { sizeBytes, sha256: digests.sha256 };
  }

  async open(path: string, maxBytes: number): Promise<AsyncIterable<Uint8Array> | undefined> {
    const url = `${this.address}/${path.split("/").map(encodeURIComponent).join("/")}`;
    const timeout = new AbortController();
    const startedMs = this.#clock();
    let timer = setTimeout(() => timeout.abort(new Error("no response in time")), silenceMs);
    const close = () => {
      clearTimeout(timer);
      timeout.abort();
    };
    const errorFor = (thrown: unknown): unknown => {
      if (this.#signal.aborted) return this.#signal.reason;
      if (thrown instanceof ServerUnavailable) return thrown;
      const why: unknown = timeout.signal.aborted ? timeout.signal.reason : thrown;
      return new ServerUnavailable(`${url}: ${messageOf(why)}`);
    };
    const restart = () => {
      clearTimeout(timer);
      timer = setTimeout(() => timeout.abort(new Error("the response stalled")), silenceMs);
    };
    const isTooSlow = (sizeBytes: number) =>
      this.#clock() - startedMs > silenceMs + (sizeBytes * 1000) / minBytesPerSecond;
    try {
      const signal = AbortSignal.any([this.#signal, timeout.signal]);
      // Some servers send .gz files with "Content-Encoding: gzip": they are stored in this form, and digests refer to it.
      const response = await fetch(url, { signal, follow: maxRedirects, compress: false });
      if (url.startsWith("https:") && !response.url.startsWith("https:"))
        throw new ServerUnavailable(`${url} redirects to a URL without TLS`);
      if (response.status === 404) {
        close();
        return undefined;
      }
      if (!response.ok) throw new ServerUnavailable(`${url} responds with status ${response.status}`);
      return chunksOf(response.body ?? []);
    } catch (thrown) {
      const error = errorFor(thrown);
      close();
      throw error;
    }

    async function* chunksOf(body: AsyncIterable<string | Buffer> | readonly Buffer[]): AsyncGenerator<Uint8Array> {
      let sizeBytes = 0;
      try {
        for await (const part of body) {
          const chunk = (typeof part === "string" ? Buffer.from(part) : part).subarray(0, maxBytes - sizeBytes);
          sizeBytes += chunk.length;
          restart();
          if (isTooSlow(sizeBytes))
            throw new ServerUnavailable(`${url} is slower than ${minBytesPerSecond} bytes per second`);
          yield chunk;
          if (sizeBytes === maxBytes) break;
        }
      } catch (thrown) {
        throw errorFor(thrown);
      } finally {
        close();
      }
    }
  }
}
