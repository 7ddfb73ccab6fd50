// A proxy between a client and the server that can change one bit, which the client must detect.
import type { Server } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import fetch from "node-fetch";

export class CorruptingProxy {
  /** In responses to paths that match, the bit in the middle is changed. */
  corrupts: RegExp | undefined;
  /** The requested paths, in order. */
  readonly requestedPaths: string[] = [];
  readonly #server: Server;

  private constructor(upstream: string) {
    this.#server = createServer((request, response) => {
      const path = request.url ?? "/";
      this.requestedPaths.push(path);
      this.#respond(upstream + path).then(
        ({ status, body }) => response.writeHead(status, { "Content-Type": "application/octet-stream" }).end(body),
        (thrown) => response.writeHead(502).end(`${String(thrown)}\n`),
      );
    });
  }

  /** @param upstream a URL without a trailing slash */
  static async start(upstream: string): Promise<CorruptingProxy> {
    const proxy = new CorruptingProxy(upstream);
    await new Promise<void>((listening) => proxy.#server.listen(0, "127.0.0.1", listening));
    return proxy;
  }

  /** Host and port. */
  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Corrupts responses while some work runs. @throws if no request matched */
  async whileCorrupting<T>(paths: RegExp, work: () => Promise<T>): Promise<T> {
    this.corrupts = paths;
    const before = this.requestedPaths.length;
    try {
      const result = await work();
      if (!this.requestedPaths.slice(before).some((path) => paths.test(path)))
        throw new Error(`no client requested ${paths.source}`);
      return result;
    } finally {
      this.corrupts = undefined;
    }
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((closed) => this.#server.close(closed));
  }

  async #respond(url: string): Promise<{ readonly status: number; readonly body: Buffer }> {
    const response = await fetch(url);
    const body = Buffer.from(await response.arrayBuffer());
    return {
      status: response.status,
      body: this.corrupts?.test(new URL(url).pathname) ? withOneBitChanged(body) : body,
    };
  }
}

export function withOneBitChanged(good: Uint8Array): Buffer {
  const bad = Buffer.from(good);
  const middle = bad.length >> 1;
  bad[middle] = (bad[middle] ?? 0) ^ 0x01;
  return bad;
}
