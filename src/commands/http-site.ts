// A public server that is to be verified, over HTTP. Nothing that it says is believed, and no answer is without end.
import fetch from "node-fetch";
import { messageOf, RepoError } from "../base/errors.ts";
import { RunningDigests } from "../debian/digests.ts";
import type { Site } from "../publishing/verification.ts";

/** The server can't be asked, or gives no sensible answer. */
class SiteUnavailable extends RepoError {
  readonly code = "verify/site-unavailable";
}

/** From the request to the head of the answer, and from one piece of it to the next. */
const silenceMs = 60_000;

type Read = Awaited<ReturnType<Site["measure"]>> & object;

export class HttpSite implements Site {
  readonly #url: string;
  readonly #signal: AbortSignal;

  /** @param url of the repository's root, without a trailing slash */
  constructor(url: string, signal: AbortSignal) {
    this.#url = url;
    this.#signal = signal;
  }

  async read(path: string, maxBytes: number): Promise<Buffer | undefined> {
    const chunks: Uint8Array[] = [];
    const read = await this.#get(path, maxBytes, (chunk) => chunks.push(chunk));
    if (read !== undefined && read.sizeBytes > maxBytes)
      throw new SiteUnavailable(`${this.#url}/${path} is longer than ${maxBytes} bytes`);
    return read && Buffer.concat(chunks);
  }

  async measure(path: string, maxBytes: number): Promise<Read | undefined> {
    return await this.#get(path, maxBytes, () => undefined);
  }

  async #get(path: string, maxBytes: number, take: (chunk: Uint8Array) => void): Promise<Read | undefined> {
    const url = `${this.#url}/${path.split("/").map(encodeURIComponent).join("/")}`;
    const silent = new AbortController();
    let timer = setTimeout(() => silent.abort(new Error("no answer in time")), silenceMs);
    try {
      const reply = await fetch(url, { signal: AbortSignal.any([this.#signal, silent.signal]) });
      if (url.startsWith("https:") && !reply.url.startsWith("https:"))
        throw new SiteUnavailable(`${url} leads to a place without TLS`);
      if (reply.status === 404) return undefined;
      if (!reply.ok) throw new SiteUnavailable(`${url} answers with status ${reply.status}`);
      const running = new RunningDigests([]);
      let sizeBytes = 0;
      for await (const piece of reply.body ?? []) {
        const chunk = Buffer.from(piece as Uint8Array);
        clearTimeout(timer);
        timer = setTimeout(() => silent.abort(new Error("the answer stopped")), silenceMs);
        sizeBytes += chunk.length;
        if (sizeBytes > maxBytes) break;
        running.update(chunk);
        take(chunk);
      }
      return { sizeBytes, sha256: running.finish().digests.sha256 };
    } catch (thrown) {
      this.#signal.throwIfAborted();
      if (thrown instanceof SiteUnavailable) throw thrown;
      const why: unknown = silent.signal.aborted ? silent.signal.reason : thrown;
      throw new SiteUnavailable(`${url}: ${messageOf(why)}`);
    } finally {
      clearTimeout(timer);
      silent.abort();
    }
  }
}
