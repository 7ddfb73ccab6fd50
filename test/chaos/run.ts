// One run of chaos: a grid, a server, builders and clients, to which everything bad happens that a seed chooses.
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fetch from "node-fetch";
import { parseTreePath } from "../../src/base/names.ts";
import { installTahoe } from "../../src/local/grid/install.ts";
import { Webapi } from "../../src/storage/tahoe/webapi.ts";
import { WebapiWriter } from "../../src/storage/tahoe/webapi-writer.ts";
import { AptRoot } from "../support/apt.ts";
import { freePort } from "../support/server.ts";
import { Acknowledged, build } from "./builders.ts";
import { ChaosServer } from "./chaos-server.ts";
import { damages, inflict, losesPublications } from "./damage.ts";
import { FaultyGateway, gatewayFaults } from "./faulty-gateway.ts";
import { Findings, pause } from "./findings.ts";
import { Chance } from "./random.ts";
import { RawClient } from "./raw-client.ts";
import type { RunResult } from "./run-in-work.ts";
import { runInWork } from "./run-in-work.ts";
import { StorageGrid } from "./storage-grid.ts";

export interface ChaosOptions {
  readonly seed: number;
  /** How long bad things happen at least. The set-up and the last check come in addition. */
  readonly seconds: number;
  /** The run goes on until the server was killed so often, within so many seconds. */
  readonly goal?: { readonly kills: number; readonly seconds: number };
  readonly projectRoot: string;
  /** How often the server is killed between two checks in calm. */
  readonly livesPerWindow: number;
}

const builderNames = ["alice", "bob", "carol"];
const token = "a-token-for-the-run-of-chaos";
const stateMebibytes = 192;
const clockJumps = [-7200, -120, -15, 0, 15, 120, 7200];
const recoveryTimeoutMs = 120_000;
/** How many uploads a calm waits for. */
const uploadsInCalm = 2;

export async function runChaos(options: ChaosOptions): Promise<RunResult> {
  return await runInWork("chaos", (work) => ChaosRun.prepare(options, work));
}

class ChaosRun {
  readonly findings = new Findings((line) => process.stderr.write(`${line}\n`));
  readonly #options: ChaosOptions;
  readonly #state: string;
  readonly #chance: Chance;
  readonly #grid: StorageGrid;
  readonly #gateway: FaultyGateway;
  readonly #server: ChaosServer;
  readonly #acknowledged = new Acknowledged();
  readonly #client: RawClient;
  readonly #isStateLimited: boolean;
  readonly #happened = new Map<string, number>();
  readonly #stopping = new AbortController();
  #background: Promise<unknown>[] = [];
  #apt: AptRoot | undefined;
  #generation = 0;
  /** Whether the server may still notice that its database is damaged, and begin another. NaN equals no generation. */
  #isDoubtful = false;
  #isCalm = true;

  static async prepare(options: ChaosOptions, work: string): Promise<ChaosRun> {
    const { signal } = new AbortController();
    const { executable } = await installTahoe({
      directory: join(options.projectRoot, ".tahoe-apt/venv"),
      progress: () => {},
      signal,
      searchPath: process.env.PATH ?? "",
    });
    const chance = new Chance(options.seed);
    const grid = await StorageGrid.start(executable, work);
    const inspected = new Set<string>();
    const isKnown = (path: string): boolean => [...inspected].some((cap) => path.includes(encodeURIComponent(cap)));
    const gateway = await FaultyGateway.start(grid.url, chance.fork(), isKnown);
    const writer = new WebapiWriter(new Webapi(grid.url));
    const root = await writer.createDirectory(signal);
    const state = join(work, "state");
    mkdirSync(state, { mode: 0o700 });
    const isStateLimited = mountSmall(state);
    const config = join(work, "tahoe-apt.toml");
    writeFileSync(join(work, "readcap"), (await writer.readCapOf(root, signal)).reveal(), { mode: 0o600 });
    writeFileSync(join(work, "token"), token, { mode: 0o600 });
    writeFileSync(config, configuration(gateway.url));
    const server = new ChaosServer({ projectRoot: options.projectRoot, work, config, port: await freePort() });
    const run = new ChaosRun({ options, work, state, chance, grid, gateway, server, isStateLimited });
    await server.start();
    await run.#client.learnKey();
    for (const name of builderNames) {
      const path = parseTreePath(`dists/sid/main/binary-amd64/${name}`);
      const directory = await writer.makeDirectory(root, path, signal);
      const { findings } = run;
      const acknowledged = run.#acknowledged;
      const common = { name, grid, writer, directory, token, acknowledged, inspected, findings };
      const building = { ...common, serverUrl: () => server.url, chance: chance.fork(), signal: run.#stopping.signal };
      run.#background.push(build(building));
    }
    run.#background.push(run.#client.watch(run.#stopping.signal));
    return run;
  }

  private constructor(parts: {
    readonly options: ChaosOptions;
    readonly work: string;
    readonly state: string;
    readonly chance: Chance;
    readonly grid: StorageGrid;
    readonly gateway: FaultyGateway;
    readonly server: ChaosServer;
    readonly isStateLimited: boolean;
  }) {
    this.#options = parts.options;
    this.#state = parts.state;
    this.#chance = parts.chance;
    this.#grid = parts.grid;
    this.#gateway = parts.gateway;
    this.#server = parts.server;
    this.#isStateLimited = parts.isStateLimited;
    this.#client = new RawClient({
      url: `${parts.server.url}/debian`,
      work: parts.work,
      acknowledged: this.#acknowledged,
      findings: this.findings,
      chance: parts.chance.fork(),
      generation: () => (this.#isDoubtful ? Number.NaN : this.#generation),
      isCalm: () => this.#isCalm,
    });
  }

  /** Windows of several lives of the server, each followed by a check in calm. */
  async go(): Promise<void> {
    await this.#calm();
    const { seconds, goal = { kills: 0, seconds }, livesPerWindow } = this.#options;
    const begunMs = Date.now();
    const isOver = (): boolean => {
      const elapsedSeconds = (Date.now() - begunMs) / 1000;
      return elapsedSeconds >= (this.#server.kills < goal.kills ? goal.seconds : seconds);
    };
    for (let window = 0; !isOver(); window += 1) {
      // Either the state is damaged or its disk is full: the file of the last Dates is only there for one of them.
      const isDamaging = window % 2 === 0;
      this.#isCalm = false;
      for (let life = 0; life < livesPerWindow && !isOver(); life += 1) {
        const isLast = life === livesPerWindow - 1;
        await this.#life(!isDamaging);
        if (isDamaging && isLast) this.#damage();
      }
      await this.#calm();
    }
  }

  /** One life of the server, which ends with SIGKILL. */
  async #life(mayFillDisk: boolean): Promise<void> {
    const chance = this.#chance;
    const done = [this.#disturbGateway(), this.#jump()];
    done.push(await this.#disturbStorage());
    const isFull = mayFillDisk && chance.isLikely(0.5) && this.#isStateLimited;
    if (isFull) done.push(this.#fillDisk());
    this.findings.during = done.filter((each) => each !== "").join(", ") || "kill -9";
    // Some are killed while they start, and some live long enough for a few publications.
    const started = this.#server.isRunning ? Promise.resolve() : this.#server.start();
    if (chance.isLikely(0.7)) await started;
    await pause(chance.isLikely(0.2) ? chance.between(3000, 6000) : chance.between(50, 1500), this.#stopping.signal);
    if (chance.isLikely(0.5)) {
      this.findings.during += `, ${this.#jump()}`;
      await pause(chance.between(0, 1000), this.#stopping.signal);
    }
    if (this.#grid.isWriting) this.#happen("kills while a builder uploads or removes");
    await this.#server.kill();
    await started;
    if (isFull && chance.isLikely(0.7)) this.#freeDisk();
  }

  #disturbGateway(): string {
    const chance = this.#chance;
    this.#gateway.percent = chance.oneOf([0, 0, 5, 10, 20, 60, 100]);
    this.#gateway.faults = chance.isLikely(0.5) ? gatewayFaults : [chance.oneOf(gatewayFaults)];
    if (this.#gateway.percent === 0) return "";
    const which = this.#gateway.faults.length === 1 ? this.#gateway.faults[0] : "every fault";
    return `${this.#gateway.percent} % of the gateway's responses: ${which}`;
  }

  #jump(): string {
    const seconds = this.#chance.oneOf(clockJumps);
    this.#server.setClock(seconds);
    if (seconds === 0) return "";
    this.#happen("clock jumps");
    return `clock ${seconds} s`;
  }

  async #disturbStorage(): Promise<string> {
    if (this.#grid.alive === 0) {
      this.#happen("storage nodes started again");
      void this.#grid.whole();
    } else if (this.#grid.alive < 3 || this.#chance.isLikely(0.08)) {
      this.#happen("storage nodes killed");
      await this.#grid.killOne();
    }
    return this.#grid.alive === 3 ? "" : `${this.#grid.alive} storage nodes`;
  }

  #fillDisk(): string {
    const { bavail, bsize } = statfsSync(this.#state);
    // A little room is left sometimes, so that some writes succeed.
    const room = this.#chance.oneOf([0, 0, 4096, 65_536]);
    const bytes = Math.max(0, bavail * bsize - room);
    try {
      writeFileSync(join(this.#state, "filler"), Buffer.alloc(bytes));
    } catch {
      // The server has used the rest meanwhile.
    }
    this.#happen("full disks");
    return "disk full";
  }

  #freeDisk(): void {
    rmSync(join(this.#state, "filler"), { force: true });
  }

  #damage(): void {
    const damage = this.#chance.oneOf(damages);
    this.findings.during = damage;
    if (losesPublications(damage)) {
      this.#generation += 1;
      this.#isDoubtful = true;
      this.#acknowledged.doubt();
    }
    inflict(damage, this.#state, this.#chance);
    this.#happen(`damage: ${damage}`);
  }

  /** Ends everything bad, and demands that all is well again soon. */
  async #calm(): Promise<void> {
    const { during } = this.findings;
    this.#freeDisk();
    this.#gateway.percent = 0;
    this.#server.setClock(0);
    await this.#grid.whole();
    this.findings.during = `recovery from ${during}`;
    const begunMs = Date.now();
    while (!(await this.#recovers())) {
      if (Date.now() - begunMs > recoveryTimeoutMs) {
        this.findings.violated(
          "the server recovers",
          `no ping of the whole tree was answered with 200 after ${during}`,
        );
        return;
      }
    }
    this.#happen("recoveries");
    const seconds = (Date.now() - begunMs) / 1000;
    this.#happened.set(
      "slowest recovery, s",
      Math.max(this.#happened.get("slowest recovery, s") ?? 0, Math.round(seconds)),
    );
    this.#acknowledged.confirm();
    this.#isDoubtful = false;
    this.#isCalm = true;
    await this.#download();
    await this.#uploadsAcknowledged(during);
    await this.#download();
    await this.#updateApt();
    if (this.#chance.isLikely(0.3)) {
      this.#happen("graceful stops");
      if (!(await this.#server.stop())) this.findings.violated("SIGTERM ends with exit code 0", during);
    }
  }

  /** Another client may be busy with the publication of before; this one must see everything. */
  async #download(): Promise<void> {
    if (!(await this.#client.round()) && !(await this.#client.round()))
      this.findings.violated("the server recovers", "no whole publication can be downloaded in calm");
  }

  /** Resolves when the server has acknowledged some more uploads. */
  async #uploadsAcknowledged(during: string): Promise<void> {
    const count = (): number => this.findings.counts.get("acknowledged uploads") ?? 0;
    const wanted = count() + uploadsInCalm;
    const begunMs = Date.now();
    while (count() < wanted) {
      if (Date.now() - begunMs > recoveryTimeoutMs)
        return this.findings.violated("the server recovers", `no upload was acknowledged after ${during}`);
      await pause(50, this.#stopping.signal);
    }
  }

  async #recovers(): Promise<boolean> {
    if (!this.#server.isRunning) await this.#server.start();
    const headers = { authorization: `Bearer ${token}` };
    const status = await fetch(`${this.#server.url}/-/ping/debian?wait=30`, {
      method: "POST",
      headers,
      signal: AbortSignal.timeout(40_000),
    }).then(
      async (reply) => {
        await reply.text();
        return reply.status;
      },
      () => 0,
    );
    if (status !== 200) await pause(200, this.#stopping.signal);
    return status === 200;
  }

  /** The real apt, with its lists of before. */
  async #updateApt(): Promise<void> {
    const publicKey = await (await fetch(`${this.#server.url}/debian/key.asc`)).text();
    this.#apt ??= new AptRoot({ source: { url: `${this.#server.url}/debian`, suite: "sid", publicKey } });
    const [known] = this.#acknowledged.present;
    try {
      await this.#apt.update();
      if (known !== undefined) await this.#apt.download(known);
      this.#happen("updates and downloads with apt");
    } catch (thrown) {
      if (known !== undefined && !this.#acknowledged.present.has(known)) return;
      this.findings.violated("apt accepts everything", String(thrown));
    }
  }

  #happen(what: string): void {
    this.#happened.set(what, (this.#happened.get(what) ?? 0) + 1);
  }

  async end(): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#background);
    await this.#server.kill();
    await this.#gateway.end();
    await this.#grid.end();
    this.#apt?.close();
    if (this.#isStateLimited) execFileSync("umount", ["--lazy", this.#state]);
  }

  rows(): readonly (readonly [string, number | string])[] {
    const faults = [...this.#gateway.counts].map(([fault, count]) => [`gateway: ${fault}`, count] as const);
    return [
      ["seed", this.#options.seed],
      ["seconds", Math.round(this.findings.seconds)],
      ["kill -9 of the server", this.#server.kills],
      ["ended by itself, started again", this.#server.crashes],
      ...byName(this.#happened),
      ...byName(faults),
      ...byName(this.findings.counts),
      ["packages acknowledged and present at the end", this.#acknowledged.present.size],
    ];
  }
}

const byName = <Count>(counts: Iterable<readonly [string, Count]>): readonly (readonly [string, Count])[] =>
  [...counts].toSorted(([one], [other]) => (one < other ? -1 : 1));

/** Lets a directory be a small file system. @returns whether this is possible here, which needs root */
function mountSmall(directory: string): boolean {
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${stateMebibytes}m,mode=700`, "tmpfs", directory], {
      stdio: "ignore",
    });
    return readdirSync(directory).length === 0;
  } catch {
    return false;
  }
}

const configuration = (gateway: string): string => `state = "state"
# Room for a few packages: most downloads read the gateway again.
cache_bytes = 20000
poll_seconds = 5
keep_seconds = 120
scrub_seconds = 1
grace_period_seconds = 2
[[repository]]
name = "debian"
webapi = "${gateway}"
readcap_file = "readcap"
ping_token_file = "token"
[limits.webapi]
first_byte_timeout_seconds = 3
listing_timeout_seconds = 5
stall_timeout_seconds = 2
hedge_after_seconds = 1
hedge_listing_after_seconds = 2
doubt_after_seconds = 1
unresponsive_after_seconds = 2
[limits.http]
pings_per_minute = 100000
`;
