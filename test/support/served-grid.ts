// A tree in the real grid, the real server, and a builder who writes to it and pings.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fetch from "node-fetch";
import type { TreePath } from "../../src/base/names.ts";
import { parseTreePath, pathNames } from "../../src/base/names.ts";
import type { WriteCap } from "../../src/storage/tahoe/caps.ts";
import { Webapi } from "../../src/storage/tahoe/webapi.ts";
import { WebapiWriter } from "../../src/storage/tahoe/webapi-writer.ts";
import type { AptRootOptions } from "./apt.ts";
import { AptRoot } from "./apt.ts";
import { ServerUnderTest } from "./server.ts";

const { signal } = new AbortController();
const token = "the-token-of-a-builder-of-tests";
/** How many uploads run at once; the grid supports no more. */
const concurrentUploads = 6;

export interface PingResponse {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly rejected: readonly { readonly path: string; readonly code: string; readonly reason: string }[];
  readonly pending: readonly { readonly path: string; readonly missing: readonly string[] }[];
}

export class ServedGrid {
  /** A directory for additional files of the test; deleted by `end`. */
  readonly work: string;
  readonly server: ServerUnderTest;
  /** The repository's root. */
  readonly url: string;
  readonly publicKey: string;
  readonly #webapiUrl: string;
  readonly #writer: WebapiWriter;
  readonly #root: WriteCap;
  readonly #directories = new Map<TreePath, WriteCap>();

  private constructor(parts: {
    readonly work: string;
    readonly server: ServerUnderTest;
    readonly publicKey: string;
    readonly webapiUrl: string;
    readonly writer: WebapiWriter;
    readonly root: WriteCap;
  }) {
    this.work = parts.work;
    this.server = parts.server;
    this.url = `${parts.server.url}/debian`;
    this.publicKey = parts.publicKey;
    this.#webapiUrl = parts.webapiUrl;
    this.#writer = parts.writer;
    this.#root = parts.root;
  }

  /**
   * @param webapiUrl the grid's URL, as the set-up of the system tests provides it
   * @param settings additional lines of the repository's table in the configuration
   */
  static async start(webapiUrl: string, settings = ""): Promise<ServedGrid> {
    const work = mkdtempSync(join(tmpdir(), "tahoe-apt-served-grid-"));
    const writer = new WebapiWriter(new Webapi(webapiUrl));
    const root = await writer.createDirectory(signal);
    const secret = (name: string, text: string): string => {
      writeFileSync(join(work, name), text, { mode: 0o600 });
      return JSON.stringify(join(work, name));
    };
    const server = await ServerUnderTest.withRepository(work, [
      `webapi = ${JSON.stringify(webapiUrl)}`,
      `readcap_file = ${secret("readcap", (await writer.readCapOf(root, signal)).reveal())}`,
      `ping_token_file = ${secret("token", token)}`,
      settings,
    ]);
    const publicKey = await (await fetch(`${server.url}/debian/key.asc`)).text();
    return new ServedGrid({ work, server, publicKey, webapiUrl, writer, root });
  }

  async end(): Promise<void> {
    await this.server.end();
    rmSync(this.work, { recursive: true, force: true });
  }

  /** Uploads immutable files and links them in one write of their directory. */
  async put(directory: string, files: ReadonlyMap<string, Uint8Array>): Promise<void> {
    const waiting = [...files];
    const links = new Map<
      string,
      { readonly content: Awaited<ReturnType<WebapiWriter["upload"]>>; metadata: object }
    >();
    const upload = async (): Promise<void> => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        links.set(next[0], { content: await this.#writer.upload(next[1], signal), metadata: {} });
      }
    };
    await Promise.all(Array.from({ length: concurrentUploads }, upload));
    await this.#writer.link(await this.#directory(directory), links, signal);
  }

  /** Overwrites or creates a mutable file. */
  async putMutable(path: string, bytes: string): Promise<void> {
    const names = [this.#root.reveal(), ...pathNames(parseTreePath(path))].map(encodeURIComponent);
    const url = `${this.#webapiUrl}/uri/${names.join("/")}?format=SDMF`;
    const { status } = await fetch(url, { method: "PUT", body: bytes });
    if (status !== 200 && status !== 201) throw new Error(`the grid answers ${status} to a mutable file`);
  }

  /** Links a cap, which need not be stored in the grid. The parent directory must exist. */
  async link(path: string, cap: string): Promise<void> {
    const names = [this.#root.reveal(), ...pathNames(parseTreePath(path))].map(encodeURIComponent);
    const url = `${this.#webapiUrl}/uri/${names.join("/")}?t=uri`;
    const { status } = await fetch(url, { method: "PUT", body: cap });
    if (status !== 200 && status !== 201) throw new Error(`the grid answers ${status} to a link`);
  }

  async remove(path: string): Promise<void> {
    await this.#writer.unlink(this.#root, parseTreePath(path), signal);
  }

  /** Waits until the change is published. @throws Error with the response, if it is not a success */
  async ping(path = ""): Promise<PingResponse> {
    const { status, text } = await this.answerTo(path);
    if (status !== 200) throw new Error(`the ping is answered ${status}: ${text}`);
    return JSON.parse(text) as PingResponse;
  }

  /** The response to a ping that waits, whatever it is. */
  async answerTo(path: string): Promise<{ readonly status: number; readonly text: string }> {
    const reply = await fetch(`${this.server.url}/-/ping/debian/${path}?wait=120`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}` },
    });
    return { status: reply.status, text: await reply.text() };
  }

  /** A private apt whose only source is this repository's suite. */
  apt(suite = "sid", options: Omit<AptRootOptions, "source"> = {}): AptRoot {
    return new AptRoot({ source: { url: this.url, suite, publicKey: this.publicKey }, ...options });
  }

  async #directory(path: string): Promise<WriteCap> {
    const parsed = parseTreePath(path);
    const known = this.#directories.get(parsed);
    if (known !== undefined) return known;
    const made = await this.#writer.makeDirectory(this.#root, parsed, signal);
    this.#directories.set(parsed, made);
    return made;
  }
}
