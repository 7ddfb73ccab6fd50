// A client of a fleet, like apt without patience: it asks once, and whatever is not there, does not fit, or is older than
// what it had, is a violation.
import { createHash } from "node:crypto";
import { Agent, request } from "node:https";
import { gunzipSync } from "node:zlib";
import type { Key } from "openpgp";
import { listedFiles, namedFiles } from "../../src/indices/named-files.ts";
import { verifyInRelease } from "../../src/signing/verify.ts";
import type { Acknowledged } from "./builders.ts";
import type { Findings } from "./findings.ts";
import { pause } from "./findings.ts";
import type { Chance } from "./random.ts";

export interface FleetReaderOptions {
  /** Unique: it is the User-Agent, by which the fleet tells clients on one machine apart. */
  readonly name: string;
  /** The URL of HAProxy. */
  readonly url: string;
  readonly ca: Buffer;
  readonly usesByHash: boolean;
  readonly keys: readonly Key[];
  readonly acknowledged: Acknowledged;
  readonly findings: Findings;
  readonly chance: Chance;
  /** Packages with this prefix are downloaded. */
  readonly packagePrefix: string;
  /** How long it waits after it has read a publication. */
  readonly idleMs?: readonly [least: number, most: number] | undefined;
}

interface Reply {
  readonly status: number;
  readonly etag: string | undefined;
  readonly body: Buffer;
}

const suite = "dists/sid";
/** As long as apt waits. */
const patienceMs = 30_000;
/** How long a reader waits between two rounds, in ms. */
const usualIdleMs = [200, 1500] as const;

/** Each InRelease is verified once, whoever gets it. */
const verified = new Map<string, Promise<string | undefined>>();

export class FleetReader {
  readonly #options: FleetReaderOptions;
  readonly #agent: Agent;
  #lastDateMs = 0;
  #etag: string | undefined;
  #slowestMs = 0;

  constructor(options: FleetReaderOptions) {
    this.#options = options;
    this.#agent = new Agent({ keepAlive: true, maxSockets: 1, ca: options.ca });
  }

  /** The longest time that one response took. */
  get slowestMs(): number {
    return this.#slowestMs;
  }

  async watch(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#round();
      await pause(this.#options.chance.between(...(this.#options.idleMs ?? usualIdleMs)), signal);
    }
    this.#agent.destroy();
  }

  async #round(): Promise<void> {
    const { acknowledged, findings, chance } = this.#options;
    const present = [...acknowledged.present];
    const absent = [...acknowledged.absent];
    const isConditional = chance.isLikely(0.7) && this.#etag !== undefined;
    const reply = await this.#get(`${suite}/InRelease`, isConditional ? { "If-None-Match": this.#etag ?? "" } : {});
    if (reply === undefined) return;
    findings.count(`InRelease answered with ${reply.status}`);
    if (reply.status === 304) return;
    this.#etag = reply.etag;
    const release = await this.#verified(reply.body.toString());
    if (release === undefined) return;
    this.#checkDate(release);
    const names = await this.#checkIndices(release);
    if (names === undefined) return;
    for (const name of present)
      if (!names.has(name) && acknowledged.present.has(name))
        this.#violated("no acknowledged ping is lost", `${name} is not in the index of ${dateIn(release)}`);
    for (const name of absent)
      if (names.has(name)) this.#violated("no acknowledged ping is lost", `${name} is back in ${dateIn(release)}`);
    findings.count(this.#options.usesByHash ? "publications read by hash" : "publications read by plain names");
  }

  async #verified(inRelease: string): Promise<string | undefined> {
    const known = verified.get(inRelease) ?? this.#verify(inRelease);
    verified.set(inRelease, known);
    return await known;
  }

  async #verify(inRelease: string): Promise<string | undefined> {
    const { goodFingerprints, complaints, text } = await verifyInRelease(inRelease, this.#options.keys, new Date());
    if (goodFingerprints.length > 0 && complaints.length === 0 && text !== undefined) {
      this.#options.findings.count("publications seen");
      return text;
    }
    this.#violated("every InRelease verifies", complaints.join("; ") || "no good signature");
    return undefined;
  }

  #checkDate(release: string): void {
    const dateMs = Date.parse(dateIn(release));
    if (!(dateMs >= this.#lastDateMs))
      this.#violated(
        "Date never goes backwards",
        `${dateIn(release)} after ${new Date(this.#lastDateMs).toUTCString()}`,
      );
    this.#lastDateMs = Math.max(this.#lastDateMs, dateMs || 0);
  }

  /** @returns the names of all packages; undefined after a violation */
  async #checkIndices(release: string): Promise<ReadonlySet<string> | undefined> {
    const { findings, chance, usesByHash, packagePrefix } = this.#options;
    let packages: string | undefined;
    for (const { path, sizeBytes, sha256 } of listedFiles(release.slice(release.indexOf("\nSHA256:")))) {
      const directory = path.slice(0, path.lastIndexOf("/") + 1);
      // Uncompressed Contents and Sources are only needed for their compressed forms.
      if (path !== "main/binary-amd64/Packages" && !/\.(gz|xz)$|\/Index$/.test(path)) continue;
      const reply = await this.#get(`${suite}/${usesByHash ? `${directory}by-hash/SHA256/${sha256}` : path}`);
      if (reply === undefined) return undefined;
      if (reply.body.length !== sizeBytes || hashOf(reply.body) !== sha256) {
        this.#violated(
          "every index has its hash",
          `${path} of ${dateIn(release)}: ${reply.body.length} of ${sizeBytes} bytes`,
        );
        return undefined;
      }
      findings.count("indices verified");
      if (path === "main/binary-amd64/Packages") packages = reply.body.toString();
      if (
        path === "main/binary-amd64/Packages.gz" &&
        packages !== undefined &&
        gunzipSync(reply.body).toString() !== packages
      )
        this.#violated("every index has its hash", "Packages.gz and Packages differ");
    }
    const text = packages ?? "";
    const stanzas = text.split("\n\n").filter((stanza) => stanza.startsWith(`Package: ${packagePrefix}`));
    if (stanzas.length > 0 && chance.isLikely(0.3)) await this.#checkPackage(chance.oneOf(stanzas));
    return new Set([...text.matchAll(/^Package: (.*)$/gm)].map(([, name = ""]) => name));
  }

  async #checkPackage(stanza: string): Promise<void> {
    for (const { path, sha256 } of namedFiles(stanza)) {
      const reply = await this.#get(path);
      if (reply === undefined) return;
      if (hashOf(reply.body) !== sha256) this.#violated("every package has its hash", path);
      this.#options.findings.count("packages verified");
    }
  }

  /** @returns undefined after a violation */
  async #get(path: string, headers: { readonly [name: string]: string } = {}): Promise<Reply | undefined> {
    const begunMs = performance.now();
    try {
      const reply = await this.#ask(path, headers);
      this.#slowestMs = Math.max(this.#slowestMs, performance.now() - begunMs);
      if (reply.status === 200 || reply.status === 304) return reply;
      this.#violated("clients see no error", `${path}: ${reply.status} ${reply.body.toString().slice(0, 200)}`);
    } catch (thrown) {
      const seconds = ((performance.now() - begunMs) / 1000).toFixed(1);
      this.#violated("clients see no error", `${path}: ${String(thrown)} after ${seconds} s`);
    }
    return undefined;
  }

  #ask(path: string, headers: { readonly [name: string]: string }): Promise<Reply> {
    const { url, name } = this.#options;
    return new Promise((resolve, reject) => {
      const options = {
        agent: this.#agent,
        family: 4,
        headers: { "User-Agent": name, ...headers },
        timeout: patienceMs,
      };
      const asking = request(`${url}/debian/${path}`, options, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () => {
          const { statusCode = 0, headers: answered } = response;
          resolve({ status: statusCode, etag: answered.etag, body: Buffer.concat(chunks) });
        });
      });
      asking.on("timeout", () => asking.destroy(new Error("no answer")));
      asking.on("error", reject);
      asking.end();
    });
  }

  #violated(invariant: string, what: string): void {
    this.#options.findings.violated(invariant, `${this.#options.name}: ${what}`);
  }
}

const hashOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const dateIn = (release: string): string => /^Date: (.*)$/m.exec(release)?.[1] ?? "";
