// One run of chaos with three replicas behind HAProxy: each failure happens once, while clients read and builders publish.
import { createHash } from "node:crypto";
import { setMaxListeners } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { parseTreePath } from "../../src/base/names.ts";
import { listedFiles, namedFiles } from "../../src/indices/named-files.ts";
import { readPublicKeys } from "../../src/signing/verify.ts";
import type { WriteCap } from "../../src/storage/tahoe/caps.ts";
import { Webapi } from "../../src/storage/tahoe/webapi.ts";
import { WebapiWriter } from "../../src/storage/tahoe/webapi-writer.ts";
import { AptRoot } from "../support/apt.ts";
import { aDeb } from "../support/debs.ts";
import type { Replica } from "../support/fleet.ts";
import { Fleet } from "../support/fleet.ts";
import type { SentinelUnderTest } from "../support/valkey-sentinel.ts";
import type { WritableGrid } from "./builders.ts";
import { Acknowledged, build } from "./builders.ts";
import { Findings, pause } from "./findings.ts";
import { FleetReader } from "./fleet-reader.ts";
import { Chance } from "./random.ts";
import type { RunResult } from "./run-in-work.ts";
import { runInWork } from "./run-in-work.ts";

export interface FleetRunOptions {
  readonly seed: number;
  /** The URL of a gateway to a grid. */
  readonly webapiUrl: string;
  readonly rawClients: number;
  readonly aptClients: number;
  readonly failures: readonly FleetFailure[];
  /** How long a change of the publisher may take. */
  readonly maxLeaseChangeSeconds: number;
  /** How long a replica is paused, and how long other outages last. */
  readonly pauseSeconds: number;
  readonly outageSeconds: number;
  /** The least duration of the failures together. */
  readonly seconds: number;
  /** Instead of a Valkey of the fleet. */
  readonly sentinel?: SentinelUnderTest;
  /** The directory of another version of the project, which is built: two replicas run it. */
  readonly otherCheckout?: string;
  /** How long nothing fails before each failure. */
  readonly calmSeconds?: number;
  /** How long clients and builders do nothing between two requests or uploads. */
  readonly idleMs?: readonly [least: number, most: number];
}

export const fleetFailures = [
  "kill the publisher",
  "kill a follower",
  "pause the publisher",
  "cut the publisher from Valkey",
  "cut a follower from Valkey",
  "cut a replica from the grid",
  "kill Valkey",
  "empty Valkey",
  "restart all replicas, one by one",
] as const;
export type FleetFailure =
  | (typeof fleetFailures)[number]
  | "kill the primary Valkey"
  | "exchange the versions of all replicas, one by one";

const token = "a-token-for-the-run-of-a-fleet";
const builderNames = ["alice", "bob", "carol"];
const basePrefix = "base-";
const basePackages = 8;
const maxRecoveryMs = 60_000;
const writeTimeoutMs = 20_000;
const pollMs = 100;
const aptIdleMs = [500, 2500] as const;
/** What a replica has sent to Valkey before it was paused has arrived after so many ms. */
const settleMs = 50;

/** A replica that was reading files when it failed. */
interface Interruption {
  readonly replica: Replica;
  /** In ms since the epoch. */
  readonly atMs: number;
  /** How many files it had reserved. */
  readonly reserved: number;
}

export async function runFleet(options: FleetRunOptions): Promise<RunResult> {
  return await runInWork("fleet", (work) => FleetRun.prepare(options, work));
}

class FleetRun {
  readonly findings = new Findings((line) => process.stderr.write(`${line}\n`));
  readonly #options: FleetRunOptions;
  readonly #work: string;
  readonly #fleet: Fleet;
  readonly #chance: Chance;
  readonly #acknowledged = new Acknowledged();
  readonly #readers: FleetReader[] = [];
  readonly #apts: AptRoot[] = [];
  readonly #stopReading = new AbortController();
  readonly #stopBuilding = new AbortController();
  readonly #reading: Promise<unknown>[] = [];
  readonly #building: Promise<unknown>[] = [];
  readonly #slowest = new Map<string, number>();
  /** The caps of the packages that clients download: their bytes are also read for that. */
  readonly #downloaded: ReadonlySet<string>;
  readonly #interruptions: Interruption[] = [];
  #readAgain = 0;

  static async prepare(options: FleetRunOptions, work: string): Promise<FleetRun> {
    const { webapiUrl, sentinel, otherCheckout } = options;
    const { signal } = new AbortController();
    const writer = new WebapiWriter(new Webapi(webapiUrl));
    const root = await writer.createDirectory(signal);
    const basePath = parseTreePath(`dists/sid/main/binary-amd64/base`);
    const baseDirectory = await writer.makeDirectory(root, basePath, signal);
    const links = new Map<
      string,
      { readonly content: Awaited<ReturnType<WebapiWriter["upload"]>>; metadata: object }
    >();
    for (let n = 0; n < basePackages; n++) {
      const fields = { package: `${basePrefix}${n}`, version: "1", architecture: "amd64" };
      links.set(`${basePrefix}${n}_1_amd64.deb`, {
        content: await writer.upload(await aDeb(fields), signal),
        metadata: {},
      });
    }
    await writer.link(baseDirectory, links, signal);
    const fleet = await Fleet.start({
      work,
      tree: { webapiUrl, readCap: (await writer.readCapOf(root, signal)).reveal() },
      token,
      settings: "poll_seconds = 5\nkeep_seconds = 300\ngrace_period_seconds = 2\n",
      tables: limits,
      ...(sentinel !== undefined && { sentinel }),
      otherCheckout,
    });
    const downloaded = new Set([...links.values()].map(({ content }) => content.reveal()));
    const run = new FleetRun({ options, work, fleet, downloaded });
    run.#checkReads(new Set());
    await run.#beginReading();
    for (const name of builderNames) await run.#beginBuilding(name, writer, root);
    return run;
  }

  private constructor({
    options,
    work,
    fleet,
    downloaded,
  }: {
    readonly options: FleetRunOptions;
    readonly work: string;
    readonly fleet: Fleet;
    readonly downloaded: ReadonlySet<string>;
  }) {
    this.#options = options;
    this.#work = work;
    this.#fleet = fleet;
    this.#downloaded = downloaded;
    this.#chance = new Chance(options.seed);
  }

  async #beginReading(): Promise<void> {
    const { rawClients, aptClients, idleMs } = this.#options;
    const { url, ca, caFile, replicas } = this.#fleet;
    const publicKey = await (await fetch(`${replicas[0]?.url}/debian/key.asc`)).text();
    const keys = await readPublicKeys(publicKey);
    const { signal } = this.#stopReading;
    setMaxListeners(0, signal);
    for (let n = 0; n < rawClients; n++) {
      const reader = new FleetReader({
        name: `client-${n}`,
        url,
        ca,
        keys,
        usesByHash: n % 2 === 0,
        acknowledged: this.#acknowledged,
        findings: this.findings,
        chance: this.#chance.fork(),
        packagePrefix: basePrefix,
        idleMs,
      });
      this.#readers.push(reader);
      this.#reading.push(reader.watch(signal));
    }
    for (let n = 0; n < aptClients; n++) {
      const apt = new AptRoot({
        source: { url: `${url}/debian`, suite: "sid", publicKey },
        options: {
          "Acquire::https::CaInfo": caFile,
          "Acquire::https::Proxy": "DIRECT",
          "Acquire::https::User-Agent": `apt-client-${n}`,
          "Acquire::Retries": "0",
          "Acquire::By-Hash": n % 2 === 0 ? "yes" : "no",
          // The first of each kind.
          "Acquire::PDiffs": n < 2 ? "true" : "false",
        },
      });
      this.#apts.push(apt);
      this.#reading.push(this.#update(apt, n, signal));
    }
  }

  /** The real apt, again and again. */
  async #update(apt: AptRoot, n: number, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const { during } = this.findings;
      try {
        const output = await apt.update();
        this.findings.count("updates with apt");
        // Whatever apt gets by another way in the end.
        const [ignored] = /^(Ign|Err):.*$/m.exec(output) ?? [];
        if (ignored !== undefined)
          this.findings.violated("apt accepts everything", `apt ${n}, begun during ${during}: ${ignored}`);
        if (this.#chance.isLikely(0.3)) {
          await apt.download(`${basePrefix}${this.#chance.below(basePackages)}`);
          this.findings.count("downloads with apt");
        }
      } catch (thrown) {
        this.findings.violated("apt accepts everything", `apt ${n}, begun during ${during}: ${String(thrown)}`);
      }
      await pause(this.#chance.between(...(this.#options.idleMs ?? aptIdleMs)), signal);
    }
  }

  async #beginBuilding(name: string, writer: WebapiWriter, root: WriteCap): Promise<void> {
    const { signal } = this.#stopBuilding;
    const path = parseTreePath(`dists/sid/main/binary-amd64/${name}`);
    const directory = await writer.makeDirectory(root, path, signal);
    const grid: WritableGrid = { write: (task) => task(AbortSignal.timeout(writeTimeoutMs)) };
    this.#building.push(
      build({
        name,
        grid,
        writer,
        directory,
        token,
        acknowledged: this.#acknowledged,
        inspected: new Set(),
        findings: this.findings,
        serverUrl: () => this.#chance.oneOf(this.#fleet.replicas).url,
        chance: this.#chance.fork(),
        idleMs: this.#options.idleMs,
        signal,
      }),
    );
  }

  /** Lets all failures happen, each once, in an order that the seed chooses; then everything must be equal. */
  async go(): Promise<void> {
    const { failures, seconds, calmSeconds = 2 } = this.#options;
    const begunMs = performance.now();
    const waiting = [...failures];
    while (waiting.length > 0) {
      await this.#calm(calmSeconds * 1000);
      const failure = this.#chance.oneOf(waiting);
      waiting.splice(waiting.indexOf(failure), 1);
      this.findings.during = failure;
      process.stderr.write(`after ${Math.round(this.findings.seconds)} s: ${failure}\n`);
      await this.#fail(failure);
      await this.#recovered(failure);
    }
    await this.#calm(seconds * 1000 - (performance.now() - begunMs));
    this.#stopBuilding.abort();
    await Promise.all(this.#building);
    await this.#compare();
    this.#stopReading.abort();
    await Promise.all(this.#reading);
  }

  /**
   * Each file is read once. It is read again only if one of both readers was killed, stopped, paused or cut off before:
   * for each of these, at most as often as it had reserved files just then.
   * @param except caps of files that are not compared
   */
  #checkReads(except: ReadonlySet<string>): void {
    const charges = new Map<Interruption, number>();
    const lastReads = new Map<string, Fleet["reads"][number]>();
    for (const read of this.#fleet.reads.filter(({ cap }) => !except.has(cap))) {
      const before = lastReads.get(read.cap);
      lastReads.set(read.cap, read);
      if (before === undefined) continue;
      this.#readAgain += 1;
      const interruption = this.#interruptions.find(
        (each) =>
          [before.replica, read.replica].includes(each.replica) &&
          each.atMs <= read.atMs &&
          (charges.get(each) ?? 0) < each.reserved,
      );
      if (interruption !== undefined) charges.set(interruption, (charges.get(interruption) ?? 0) + 1);
      else {
        const [first, second] = [before, read].map(
          ({ replica, atMs }) => `${replica.name} at ${new Date(atMs).toISOString()}`,
        );
        this.findings.violated("no package is inspected twice", `by ${first} and by ${second}: ${read.cap.slice(-12)}`);
      }
    }
    this.findings.counts.set("files read", lastReads.size);
  }

  /** Notes which files a replica is reading. Nothing changes that while it is paused. */
  async #noteInterruption(replica: Replica): Promise<void> {
    await wait(settleMs);
    this.#interruptions.push({ replica, atMs: Date.now(), reserved: await this.#fleet.reservedBy(replica) });
  }

  async #calm(ms: number): Promise<void> {
    if (ms > 0) await wait(ms);
    this.findings.during = "calm";
  }

  async #fail(failure: FleetFailure): Promise<void> {
    const { pauseSeconds, outageSeconds } = this.#options;
    const { replicas } = this.#fleet;
    const outage = (): Promise<void> => wait(outageSeconds * 1000);
    switch (failure) {
      case "kill the publisher":
      case "kill a follower": {
        const victim = failure === "kill a follower" ? await this.#follower() : await this.#publisher();
        await this.#kill(victim);
        if (failure === "kill the publisher") await this.#leaseChangesFrom(victim, failure);
        await outage();
        await victim.start();
        return;
      }
      case "pause the publisher": {
        const victim = await this.#publisher();
        victim.pause();
        await this.#noteInterruption(victim);
        await Promise.all([this.#leaseChangesFrom(victim, failure), wait(pauseSeconds * 1000)]);
        victim.resume();
        return;
      }
      case "cut the publisher from Valkey":
      case "cut a follower from Valkey": {
        const isPublisher = failure === "cut the publisher from Valkey";
        const victim = isPublisher ? await this.#publisher() : await this.#follower();
        await victim.cutFrom("valkey");
        await this.#noteInterruption(victim);
        await Promise.all([isPublisher ? this.#leaseChangesFrom(victim, failure) : undefined, outage()]);
        await this.#refusesPings(victim);
        await victim.mend("valkey");
        return;
      }
      case "cut a replica from the grid": {
        const victim = this.#chance.oneOf(replicas);
        await victim.cutFrom("grid");
        await this.#noteInterruption(victim);
        await outage();
        await victim.mend("grid");
        return;
      }
      case "kill Valkey":
        await this.#fleet.valkey.kill();
        await outage();
        for (const replica of replicas) await this.#refusesPings(replica);
        await this.#fleet.valkey.restart();
        return;
      case "empty Valkey":
        await this.#fleet.valkey.empty();
        return;
      case "exchange the versions of all replicas, one by one":
      case "restart all replicas, one by one":
        for (const replica of replicas) {
          replica.pause();
          await this.#noteInterruption(replica);
          const code = await replica.stop();
          if (code !== 0) this.findings.violated("SIGTERM ends with exit code 0", `${replica.name}: ${code}`);
          if (failure !== "restart all replicas, one by one")
            replica.checkout = replica.checkout === undefined ? this.#options.otherCheckout : undefined;
          await replica.start();
          await this.#recovered(failure);
        }
        return;
      case "kill the primary Valkey":
        await this.#options.sentinel?.failOver();
        return;
      default:
        failure satisfies never;
    }
  }

  async #kill(replica: Replica): Promise<void> {
    replica.pause();
    await this.#noteInterruption(replica);
    await replica.kill();
  }

  async #publisher(): Promise<Replica> {
    for (const begunMs = Date.now(); Date.now() - begunMs < maxRecoveryMs; await wait(pollMs)) {
      const holders = await Promise.all(
        this.#fleet.replicas.map(async (replica) => ((await isPublisher(replica)) ? [replica] : [])),
      );
      const [holder] = holders.flat();
      if (holder !== undefined) return holder;
    }
    throw new Error("no replica is the publisher");
  }

  async #follower(): Promise<Replica> {
    const publisher = await this.#publisher();
    return this.#chance.oneOf(this.#fleet.replicas.filter((replica) => replica !== publisher));
  }

  /** Resolves when another replica is the publisher. */
  async #leaseChangesFrom(victim: Replica, failure: FleetFailure): Promise<void> {
    const begunMs = performance.now();
    const others = this.#fleet.replicas.filter((replica) => replica !== victim);
    while (!(await Promise.all(others.map(isPublisher))).includes(true)) {
      if (performance.now() - begunMs > maxRecoveryMs) break;
      await wait(pollMs);
    }
    const ms = performance.now() - begunMs;
    this.#note(`change of the lease: ${failure}, s`, ms);
    if (ms > this.#options.maxLeaseChangeSeconds * 1000)
      this.findings.violated("a lease changes hands in time", `${(ms / 1000).toFixed(1)} s after ${failure}`);
  }

  /** Without Valkey, pings are answered at once, with the reason. */
  async #refusesPings(replica: Replica): Promise<void> {
    const reply = await ping(replica, "?wait=10");
    if (reply.status !== 503 || !reply.text.includes("cluster/unavailable"))
      this.findings.violated(
        "without Valkey pings are answered with 503",
        `${replica.name}: ${reply.status} ${reply.text}`,
      );
  }

  /** Resolves when all replicas are ready, and a ping at each of them succeeds. */
  async #recovered(failure: FleetFailure): Promise<void> {
    const begunMs = performance.now();
    this.findings.during = `recovery from ${failure}`;
    this.#writeLogs();
    for (const replica of this.#fleet.replicas) {
      let last = "";
      while (true) {
        const ready = await fetch(`${replica.url}/readyz`, { signal: AbortSignal.timeout(2000) }).catch(
          () => undefined,
        );
        const reply = ready?.status === 200 ? await ping(replica, "?wait=30") : undefined;
        if (reply?.status === 200) break;
        last = reply === undefined ? `not ready: ${await ready?.text()}` : `ping: ${reply.status} ${reply.text}`;
        if (performance.now() - begunMs > maxRecoveryMs) {
          this.findings.violated("the fleet recovers by itself", `${replica.name} after ${failure}: ${last}`);
          return;
        }
        await wait(pollMs);
      }
    }
    const ms = performance.now() - begunMs;
    this.#note(`recovery: ${failure}, s`, ms);
    this.findings.count("recoveries");
  }

  /** Every file of the repository must have the same bytes at each replica. */
  async #compare(): Promise<void> {
    this.findings.during = "the comparison";
    const { replicas } = this.#fleet;
    for (const replica of replicas) {
      const reply = await ping(replica, "?wait=30");
      if (reply.status !== 200)
        this.findings.violated("a ping is answered at the end", `${replica.name}: ${reply.text}`);
    }
    const current = (): Promise<string> => textOf(replicas[0], "dists/sid/InRelease");
    // Deferred files follow in publications of their own.
    for (let last = ""; ; await wait(1000)) {
      const release = await current();
      if (release === last) break;
      last = release;
    }
    // From now on packages are also read to be compared.
    this.#checkReads(this.#downloaded);
    for (;;) {
      const release = await current();
      const { equal, unequal } = await this.#comparison(release);
      if ((await current()) !== release) continue;
      this.findings.count("files equal at all replicas", equal);
      for (const what of unequal) this.findings.violated("all replicas serve equal bytes at the end", what);
      return;
    }
  }

  /** Compares every file of a publication, which must be the current one before and after that. */
  async #comparison(release: string): Promise<{ readonly equal: number; readonly unequal: readonly string[] }> {
    const { replicas } = this.#fleet;
    const index = await textOf(replicas[0], "dists/sid/main/binary-amd64/Packages");
    const indices = [...listedFiles(release.slice(release.indexOf("\nSHA256:")))].flatMap(({ path, sha256 }) => [
      `dists/sid/${path}`,
      `dists/sid/${path.slice(0, path.lastIndexOf("/") + 1)}by-hash/SHA256/${sha256}`,
    ]);
    const signed = ["InRelease", "Release", "Release.gpg"].map((name) => `dists/sid/${name}`);
    const paths = [...signed, ...indices, ...[...namedFiles(index)].map(({ path }) => path)];
    const unequal: string[] = [];
    for (const path of paths) {
      const digests = await Promise.all(replicas.map((replica) => digestOf(replica, path)));
      if (new Set(digests).size > 1 || digests.includes("")) unequal.push(`${path}: ${digests.join(", ")}`);
    }
    return { equal: paths.length - unequal.length, unequal };
  }

  #note(what: string, ms: number): void {
    this.#slowest.set(what, Math.max(this.#slowest.get(what) ?? 0, ms));
  }

  async end(): Promise<void> {
    this.#stopBuilding.abort();
    this.#stopReading.abort();
    for (const replica of this.#fleet.replicas) replica.resume();
    await Promise.all([...this.#building, ...this.#reading]);
    await this.#fleet.end();
    this.#writeLogs();
    for (const apt of this.#apts) apt.close();
  }

  #writeLogs(): void {
    for (const { name, output } of this.#fleet.replicas) writeFileSync(join(this.#work, `${name}.log`), output);
    writeFileSync(join(this.#work, "haproxy.log"), this.#fleet.proxy?.output ?? "");
  }

  rows(): readonly (readonly [string, number | string])[] {
    const seconds = [...this.#slowest].map(([what, ms]) => [what, (ms / 1000).toFixed(1)] as const);
    return [
      ["seed", this.#options.seed],
      ["seconds", Math.round(this.findings.seconds)],
      ["slowest response, s", (Math.max(...this.#readers.map(({ slowestMs }) => slowestMs)) / 1000).toFixed(1)],
      ...seconds,
      ["files read again", this.#readAgain],
      [
        "files that were reserved by replicas that failed",
        this.#interruptions.reduce((sum, { reserved }) => sum + reserved, 0),
      ],
      ...[...this.findings.counts].toSorted(([one], [other]) => (one < other ? -1 : 1)),
    ];
  }
}

async function ping(replica: Replica, query: string): Promise<{ readonly status: number; readonly text: string }> {
  try {
    const reply = await fetch(`${replica.url}/-/ping/debian${query}`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(40_000),
    });
    return { status: reply.status, text: await reply.text() };
  } catch (thrown) {
    return { status: 0, text: String(thrown) };
  }
}

async function metricOf(replica: Replica, pattern: RegExp): Promise<number | undefined> {
  if (!replica.isRunning) return undefined;
  const signal = AbortSignal.timeout(2000);
  const text = await fetch(`${replica.url}/metrics`, { signal }).then(
    (reply) => reply.text(),
    () => "",
  );
  const [, value] = pattern.exec(text) ?? [];
  return value === undefined ? undefined : Number(value);
}

const isPublisher = async (replica: Replica): Promise<boolean> =>
  (await metricOf(replica, /^tahoe_apt_cluster_lease_held\{repository="debian"\} (\d)$/m)) === 1;

async function textOf(replica: Replica | undefined, path: string): Promise<string> {
  return await (await fetch(`${replica?.url}/debian/${path}`)).text();
}

/** @returns the empty string for an error */
async function digestOf(replica: Replica, path: string): Promise<string> {
  const reply = await fetch(`${replica.url}/debian/${path}`);
  const body = Buffer.from(await reply.arrayBuffer());
  return reply.status === 200 ? createHash("sha256").update(body).digest("hex").slice(0, 12) : "";
}

/** A gateway that is cut off is noticed soon. */
const limits = `[limits.webapi]
first_byte_timeout_seconds = 3
listing_timeout_seconds = 5
stall_timeout_seconds = 2
[limits.http]
pings_per_minute = 100000
`;
