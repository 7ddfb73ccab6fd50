// Stands between a client and the server, and can change one bit on the way: what a client must notice.
import type { Server } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import fetch from "node-fetch";

export class SpoilingProxy {
  /** Replies to paths that match have one bit changed, in their middle. */
  spoils: RegExp | undefined;
  /** What clients asked for, in order. */
  readonly asked: string[] = [];
  readonly #server: Server;

  private constructor(upstream: string) {
    this.#server = createServer((request, response) => {
      const path = request.url ?? "/";
      this.asked.push(path);
      this.#answer(upstream + path).then(
        ({ status, body }) => response.writeHead(status, { "Content-Type": "application/octet-stream" }).end(body),
        (thrown) => response.writeHead(502).end(`${String(thrown)}\n`),
      );
    });
  }

  /** @param upstream a URL without a trailing slash */
  static async start(upstream: string): Promise<SpoilingProxy> {
    const proxy = new SpoilingProxy(upstream);
    await new Promise<void>((listening) => proxy.#server.listen(0, "127.0.0.1", listening));
    return proxy;
  }

  /** Host and port. */
  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Spoils for the time of the work, and tells whether there was anything to spoil. */
  async whileSpoiling<T>(paths: RegExp, work: () => Promise<T>): Promise<T> {
    this.spoils = paths;
    const before = this.asked.length;
    try {
      const result = await work();
      if (!this.asked.slice(before).some((path) => paths.test(path)))
        throw new Error(`nobody asked for ${paths.source}`);
      return result;
    } finally {
      this.spoils = undefined;
    }
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((closed) => this.#server.close(closed));
  }

  async #answer(url: string): Promise<{ readonly status: number; readonly body: Buffer }> {
    const reply = await fetch(url);
    const body = Buffer.from(await reply.arrayBuffer());
    return { status: reply.status, body: this.spoils?.test(new URL(url).pathname) ? withOneBitChanged(body) : body };
  }
}

export function withOneBitChanged(good: Uint8Array): Buffer {
  const bad = Buffer.from(good);
  const middle = bad.length >> 1;
  bad[middle] = (bad[middle] ?? 0) ^ 0x01;
  return bad;
}
