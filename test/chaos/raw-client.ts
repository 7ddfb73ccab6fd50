// A client that downloads and verifies everything, again and again, and compares it with what was acknowledged.
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import fetch from "node-fetch";
import type { Key } from "openpgp";
import { listedFiles, namedFiles } from "../../src/indices/named-files.ts";
import { readPublicKeys, verifyInRelease } from "../../src/signing/verify.ts";
import { runTool } from "../support/debs.ts";
import type { Acknowledged } from "./builders.ts";
import type { Findings } from "./findings.ts";
import { pause } from "./findings.ts";
import type { Chance } from "./random.ts";

export interface RawClientOptions {
  readonly url: string;
  readonly work: string;
  readonly acknowledged: Acknowledged;
  readonly findings: Findings;
  readonly chance: Chance;
  /** Raised when the server may have lost its publications; NaN until it has noticed the damage and recovered. */
  readonly generation: () => number;
  /** Whether the server may lack packages: a gateway or storage node fails. */
  readonly isCalm: () => boolean;
}

interface Fetched {
  readonly status: number;
  readonly body: Buffer;
}

const patienceMs = 10_000;
/** How long a file of a publication may be unavailable because the server is down. */
const maxOutageMs = 30_000;

export class RawClient {
  readonly #options: RawClientOptions;
  readonly #keyring: string;
  #keys: readonly Key[] = [];
  #lastDateMs = 0;
  /** Aborted at the end of the run, after which nothing is demanded of the server. */
  #stopping = new AbortController().signal;
  #rounds = 0;

  constructor(options: RawClientOptions) {
    this.#options = options;
    this.#keyring = join(options.work, "keyring.gpg");
  }

  /** Remembers the key, which must never change. */
  async learnKey(): Promise<string> {
    const armored = (await this.#get("key.asc"))?.body.toString() ?? "";
    this.#keys = await readPublicKeys(armored);
    writeFileSync(this.#keyring, Buffer.concat(this.#keys.map((key) => Buffer.from(key.write()))));
    return armored;
  }

  async watch(signal: AbortSignal): Promise<void> {
    this.#stopping = signal;
    while (!signal.aborted) {
      await this.round();
      await pause(20, signal);
    }
  }

  /** @returns whether a whole publication was downloaded */
  async round(): Promise<boolean> {
    const { acknowledged, findings, generation } = this.#options;
    const begunIn = generation();
    const isSame = () => generation() === begunIn;
    const present = [...acknowledged.present];
    const absent = [...acknowledged.absent];
    const reply = await this.#get("dists/sid/InRelease");
    if (reply?.status !== 200) {
      if (reply?.status === 404 && isSame() && present.length > 0)
        findings.violated("InRelease stays", "InRelease is answered with 404");
      findings.count("InRelease not available");
      return false;
    }
    const release = await this.#verified(reply.body.toString());
    if (release === undefined) return false;
    this.#checkDate(release);
    const names = await this.#checkIndices(release, isSame);
    if (names === undefined) return false;
    // Meanwhile the database may have been lost, and some packages are being removed.
    if (isSame()) {
      for (const name of present)
        if (!names.has(name) && acknowledged.present.has(name))
          findings.violated("no acknowledged ping is lost", `${name} is not in the index of ${dateIn(release)}`);
      for (const name of absent)
        if (names.has(name)) findings.violated("no acknowledged ping is lost", `${name} is back in ${dateIn(release)}`);
    }
    findings.count("publications verified");
    return true;
  }

  async #verified(inRelease: string): Promise<string | undefined> {
    const { findings } = this.#options;
    const { goodFingerprints, complaints, text } = await verifyInRelease(inRelease, this.#keys, new Date());
    if (goodFingerprints.length === 0 || complaints.length > 0 || text === undefined) {
      findings.violated("every InRelease verifies", complaints.join("; ") || "no good signature");
      return undefined;
    }
    this.#rounds += 1;
    if (this.#rounds % 20 === 1) {
      const file = join(this.#options.work, "InRelease");
      writeFileSync(file, inRelease);
      try {
        runTool("gpgv", ["--quiet", "--keyring", this.#keyring, file]);
        findings.count("InRelease verified by gpgv");
      } catch (thrown) {
        findings.violated("every InRelease verifies", `gpgv: ${String(thrown)}`);
      }
    }
    return text;
  }

  #checkDate(release: string): void {
    const dateMs = Date.parse(dateIn(release));
    if (!(dateMs >= this.#lastDateMs))
      this.#options.findings.violated(
        "Date never goes backwards",
        `${dateIn(release)} after ${new Date(this.#lastDateMs).toUTCString()}`,
      );
    this.#lastDateMs = Math.max(this.#lastDateMs, dateMs || 0);
  }

  /** Fetches every index by its hash. @returns the names of all packages; undefined if the server lost its state */
  async #checkIndices(release: string, isSame: () => boolean): Promise<ReadonlySet<string> | undefined> {
    const { findings, chance } = this.#options;
    const listed = release.slice(release.indexOf("\nSHA256:"));
    let packages = "";
    for (const { path, sizeBytes, sha256 } of listedFiles(listed)) {
      const directory = path.slice(0, path.lastIndexOf("/") + 1);
      const body = await this.#whole(`dists/sid/${directory}by-hash/SHA256/${sha256}`, isSame);
      if (body === undefined) return undefined;
      if (body.length !== sizeBytes || hashOf(body) !== sha256) {
        findings.violated(
          "every index has its hash",
          `${path} of ${dateIn(release)}: ${body.length} of ${sizeBytes} bytes`,
        );
        return undefined;
      }
      findings.count("indices verified");
      if (path === "main/binary-amd64/Packages") packages = body.toString();
      if (path === "main/binary-amd64/Packages.gz" && gunzipSync(body).toString() !== packages && packages !== "")
        findings.violated("every index has its hash", "Packages.gz and Packages differ");
    }
    const files = [...namedFiles(packages)];
    if (files.length > 0) await this.#checkPackage(chance.oneOf(files), isSame);
    return new Set([...packages.matchAll(/^Package: (.*)$/gm)].map(([, name = ""]) => name));
  }

  async #checkPackage(file: { readonly path: string; readonly sha256: string }, isSame: () => boolean): Promise<void> {
    const { findings, isCalm } = this.#options;
    const reply = await this.#get(file.path);
    if (reply?.status === 404 && isSame())
      findings.violated("every package is served", `${file.path} is answered with 404`);
    if (reply?.status !== 200) {
      findings.count(isCalm() ? "packages not available, in calm" : "packages not available");
      return;
    }
    if (hashOf(reply.body) !== file.sha256) findings.violated("every package has its hash", file.path);
    findings.count("packages verified");
  }

  /** Fetches a file that must be there, over restarts of the server. @returns undefined if it may be lost */
  async #whole(path: string, isSame: () => boolean): Promise<Buffer | undefined> {
    const { findings } = this.#options;
    for (const begunMs = Date.now(); Date.now() - begunMs < maxOutageMs; await pause(100, this.#stopping)) {
      if (!isSame() || this.#stopping.aborted) return undefined;
      const reply = await this.#get(path);
      if (reply?.status === 200) return reply.body;
      if (reply?.status === 404) {
        if (isSame()) findings.violated("all indices that InRelease names are served", `${path} is answered with 404`);
        return undefined;
      }
    }
    findings.count("indices not available for long");
    return undefined;
  }

  /** @returns undefined if there was no whole response, which a client notices */
  async #get(path: string): Promise<Fetched | undefined> {
    try {
      const reply = await fetch(`${this.#options.url}/${path}`, { signal: AbortSignal.timeout(patienceMs) });
      const body = Buffer.from(await reply.arrayBuffer());
      const announced = reply.headers.get("content-length");
      if (announced !== null && Number(announced) !== body.length) return undefined;
      // A damaged database is noticed by the first request that meets the damage.
      if (reply.status >= 500 && reply.status !== 503 && !Number.isNaN(this.#options.generation())) {
        this.#options.findings.violated(
          "no internal errors",
          `${path} is answered with ${reply.status}: ${body.toString().slice(0, 200)}`,
        );
      }
      return { status: reply.status, body };
    } catch {
      return undefined;
    }
  }
}

const hashOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const dateIn = (release: string): string => /^Date: (.*)$/m.exec(release)?.[1] ?? "";
