// The races that break other servers: all kinds of clients update and download in a loop while packages are added,
// removed and changed twice a second. No client ever sees a mixture, neither by hash nor by plain names.
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import fetch from "node-fetch";
import { expect, inject, onTestFinished, test } from "vitest";
import { AptRoot } from "../support/apt.ts";
import { Apt3 } from "../support/apt3.ts";
import { aDeb, runTool } from "../support/debs.ts";
import { demandTool } from "../support/rootfs.ts";
import { ServedGrid } from "../support/served-grid.ts";
import { ServerUnderTest } from "../support/server.ts";

const raceMs = 60_000;
const changeEveryMs = 500;
/** With fewer changes it would be no race; a loaded machine manages fewer than two a second. */
const fewestChanges = 60;
const dateEveryMs = 100;
const snapshotEveryMs = 10_000;
/** Clients with clocks that are this slow accept every burst. */
const leastBehindMs = 10_000;
const raceTimeoutMs = 300_000;
const packagesAtFirst = 25;
const place = "dists/sid/main/binary-amd64/builder";
const token = "the-token-of-a-race";

/** A repository under change. */
interface Racetrack {
  readonly url: string;
  readonly publicKey: string;
  put(directory: string, files: ReadonlyMap<string, Uint8Array>): Promise<void>;
  remove(path: string): Promise<void>;
  ping(path: string): Promise<unknown>;
  end(): Promise<void>;
}

/** A folder, whose files are replaced by renaming, with the real server. */
async function aFolder(): Promise<Racetrack> {
  const work = mkdtempSync(join(tmpdir(), "tahoe-apt-race-"));
  const folder = join(work, "tree");
  mkdirSync(join(folder, place), { recursive: true });
  writeFileSync(join(work, "token"), token, { mode: 0o600 });
  const server = await ServerUnderTest.withRepository(work, [
    `folder = ${JSON.stringify(folder)}`,
    `ping_token_file = ${JSON.stringify(join(work, "token"))}`,
  ]);
  const url = `${server.url}/debian`;
  return {
    url,
    publicKey: await (await fetch(`${url}/key.asc`)).text(),
    async put(directory, files) {
      for (const [name, bytes] of files) {
        const target = join(folder, directory, name);
        mkdirSync(dirname(target), { recursive: true });
        writeFileSync(join(work, "new"), bytes);
        renameSync(join(work, "new"), target);
      }
    },
    remove: async (path) => rmSync(join(folder, path)),
    async ping(path) {
      const headers = { authorization: `Bearer ${token}` };
      const { status } = await fetch(`${server.url}/-/ping/debian/${path}?wait=60`, { method: "POST", headers });
      if (status !== 200) throw new Error(`a ping is answered ${status}`);
    },
    async end() {
      await server.end();
      rmSync(work, { recursive: true, force: true });
    },
  };
}

/** One race: its tasks, its duration, and all failures. */
class Race {
  readonly track: Racetrack;
  readonly failures: string[] = [];
  readonly rounds = new Map<string, number>();
  readonly #untilMs = Date.now() + raceMs;

  constructor(track: Racetrack) {
    this.track = track;
  }

  /** Repeats until the time is over or something failed. */
  async lap(name: string, once: () => Promise<void>, everyMs = 0): Promise<void> {
    while (Date.now() < this.#untilMs && this.failures.length === 0) {
      const nextMs = Date.now() + everyMs;
      try {
        await once();
        this.rounds.set(name, (this.rounds.get(name) ?? 0) + 1);
      } catch (thrown) {
        this.failures.push(`${name}: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
      }
      await sleep(Math.max(0, nextMs - Date.now()));
    }
  }

  async get(path: string): Promise<Buffer> {
    const reply = await fetch(`${this.track.url}/${path}`);
    const bytes = Buffer.from(await reply.arrayBuffer());
    if (reply.status !== 200) throw new Error(`${path} is answered ${reply.status}: ${bytes.toString()}`);
    return bytes;
  }

  /** @throws Error if the bytes differ */
  async getPromised(path: string, sha256: string, sizeBytes: number): Promise<Buffer> {
    const bytes = await this.get(path);
    if (bytes.length !== sizeBytes) throw new Error(`size mismatch: ${path}`);
    if (createHash("sha256").update(bytes).digest("hex") !== sha256) throw new Error(`hash mismatch: ${path}`);
    return bytes;
  }
}

/** Adds a package, replaces one by other bytes of the same version, removes one: in turn, and never the last. */
function churn(race: Race): () => Promise<void> {
  const names: string[] = Array.from({ length: packagesAtFirst }, (_, n) => `first-${n}`);
  let count = 0;
  return async () => {
    count += 1;
    const { track } = race;
    const any = names[count % names.length] ?? "";
    if (count % 3 === 0) {
      await track.remove(`${place}/${any}.deb`);
      names.splice(names.indexOf(any), 1);
    } else {
      const name = count % 3 === 1 ? `new-${count}` : any;
      if (!names.includes(name)) names.push(name);
      const files = { "./usr/share/doc/it/README": `change ${count}` };
      await track.put(place, new Map([[`${name}.deb`, await aDeb({ package: name, architecture: "amd64", files })]]));
    }
    track.ping(place).catch((thrown: unknown) => race.failures.push(String(thrown)));
  };
}

/** Release's Date as clients see it: it never decreases, and is always behind the clock. */
function watchDate(race: Race): () => Promise<void> {
  let lastMs = 0;
  return async () => {
    const text = (await race.get("dists/sid/InRelease")).toString();
    const dateMs = Date.parse(/^Date: (.+)$/m.exec(text)?.[1] ?? "");
    if (!(dateMs >= lastMs)) throw new Error(`Date went back from ${lastMs} to ${dateMs}`);
    if (Date.now() - dateMs < leastBehindMs) throw new Error(`Date is only ${Date.now() - dateMs} ms behind`);
    lastMs = dateMs;
  };
}

/** Every index by its hash, and packages of an index of the last minute. */
function fetchByHash(race: Race): () => Promise<void> {
  const named = new Map<string, { readonly sha256: string; readonly sizeBytes: number; readonly atMs: number }>();
  return async () => {
    const release = (await race.get("dists/sid/InRelease")).toString();
    for (const [, sha256 = "", size, path = ""] of release.matchAll(/^ ([0-9a-f]{64}) (\d+) (\S+)$/gm)) {
      const directory = path.slice(0, path.lastIndexOf("/") + 1);
      const bytes = await race.getPromised(`dists/sid/${directory}by-hash/SHA256/${sha256}`, sha256, Number(size));
      if (!path.endsWith("/Packages")) continue;
      for (const stanza of bytes.toString().split("\n\n")) {
        const [, filename] = /^Filename: (.+)$/m.exec(stanza) ?? [];
        const [, packageSha256 = ""] = /^SHA256: (.+)$/m.exec(stanza) ?? [];
        const sizeBytes = Number(/^Size: (.+)$/m.exec(stanza)?.[1]);
        if (filename !== undefined) named.set(filename, { sha256: packageSha256, sizeBytes, atMs: Date.now() });
      }
    }
    const fresh = [...named].filter(([, { atMs }]) => Date.now() - atMs < 60_000);
    // The oldest of them are most probably deleted.
    for (const [path, { sha256, sizeBytes }] of fresh.slice(0, 20)) await race.getPromised(path, sha256, sizeBytes);
  };
}

/** Real apt on one machine for the whole race; it downloads a package of its index each time. */
function runApt(race: Race): () => Promise<void> {
  const root = new AptRoot({ source: { url: race.track.url, suite: "sid", publicKey: race.track.publicKey } });
  onTestFinished(() => root.close());
  let count = 0;
  return async () => {
    await root.update();
    const names = await root.packageNames();
    count += 1;
    await root.download(names[(count * 7) % names.length] ?? "");
  };
}

/** The same with apt 3, whose verifier rejects a signature that is a second ahead of the clock. */
function runApt3(machine: Apt3): () => Promise<void> {
  const succeed = async (line: string): Promise<string> => {
    const { exitCode, output } = await machine.run(line);
    if (exitCode !== 0) throw new Error(`apt 3's ${line} ended with ${exitCode}:\n${output}`);
    return output;
  };
  let count = 0;
  return async () => {
    await machine.update();
    const names = (await succeed("apt-cache pkgnames")).split("\n").filter((name) => /^(first|new)-/.test(name));
    count += 1;
    await succeed(`apt-get download ${names.toSorted()[(count * 7) % names.length]}`);
  };
}

function runAptitude(race: Race): () => Promise<void> {
  demandTool("aptitude", "aptitude");
  const root = new AptRoot({ source: { url: race.track.url, suite: "sid", publicKey: race.track.publicKey } });
  onTestFinished(() => root.close());
  return async () => {
    const { exitCode, output } = await root.run("aptitude", "update");
    if (exitCode !== 0 || /^[WE]:|mismatch/im.test(output)) throw new Error(output);
  };
}

/** A directory that is deleted with the test, and a function that runs programs in it. */
function aWorkplace(race: Race) {
  const work = mkdtempSync(join(tmpdir(), "tahoe-apt-race-"));
  onTestFinished(() => rmSync(work, { recursive: true, force: true }));
  const keyring = join(work, "keyring.gpg");
  const gnupg = (...args: readonly string[]) =>
    runTool("gpg", ["--batch", "--quiet", "--homedir", work, ...args], race.track.publicKey, "gnupg");
  writeFileSync(keyring, gnupg("--dearmor"));
  gnupg("--import");
  const env = { PATH: process.env.PATH, HOME: work, GNUPGHOME: work, LC_ALL: "C.UTF-8" };
  const run = (program: string, ...args: readonly string[]) =>
    new Promise<string>((resolve, reject) => {
      execFile(program, args, { env }, (error, stdout, stderr) => {
        if (error === null) resolve(stdout + stderr);
        else reject(new Error(`${program}: ${stdout}${stderr}`));
      });
    });
  return { work, keyring, run };
}

/** It requests plain names, one by one. Its result must be complete: another mirror may be made of it. */
function runDebmirror(race: Race, rootOf: () => Promise<string>): () => Promise<void> {
  demandTool("debmirror", "debmirror");
  const { work, keyring, run } = aWorkplace(race);
  const mirror = join(work, "mirror");
  return async () => {
    const { host } = new URL(race.track.url);
    const options = [
      ...`--method=http --host=${host} --root=${await rootOf()} --dist=sid --section=main --arch=amd64`.split(" "),
      ...`--nosource --rsync-extra=none --diff=none --checksums --keyring=${keyring}`.split(" "),
    ];
    await run("debmirror", ...options, mirror);
    const release = readFileSync(join(mirror, "dists/sid/Release"), "utf8");
    const inRelease = readFileSync(join(mirror, "dists/sid/InRelease"), "utf8");
    if (!inRelease.includes(`\n${release}`)) throw new Error("debmirror keeps an InRelease of another publication");
    const packages = readFileSync(join(mirror, "dists/sid/main/binary-amd64/Packages.gz"));
    const digest = createHash("sha256").update(packages).digest("hex");
    if (!release.includes(digest)) throw new Error("debmirror keeps an index of another publication");
  };
}

/** The newest publication, as a separate repository. */
const newestSnapshot = (race: Race) => async (): Promise<string> => {
  const list = JSON.parse((await race.get("snapshots/index.json")).toString()) as unknown;
  return `debian/snapshots/${/"id":"([^"]+)"/.exec(JSON.stringify(list))?.[1]}`;
};

function runAptly(race: Race): () => Promise<void> {
  demandTool("aptly", "aptly");
  const { work, keyring, run } = aWorkplace(race);
  const configuration = join(work, "aptly.conf");
  writeFileSync(configuration, JSON.stringify({ rootDir: join(work, "aptly"), gpgProvider: "gpg" }));
  const aptly = (...args: readonly string[]) => run("aptly", `-config=${configuration}`, ...args);
  let isMade = false;
  return async () => {
    const options = [`-keyring=${keyring}`, "-architectures=amd64"];
    if (!isMade) await aptly("mirror", "create", ...options, "it", race.track.url, "sid", "main");
    isMade = true;
    await aptly("mirror", "update", `-keyring=${keyring}`, "it");
  };
}

/** From nothing each time, because it rejects other bytes for a version that it has. */
function runReprepro(race: Race): () => Promise<void> {
  demandTool("reprepro", "reprepro");
  const { work, run } = aWorkplace(race);
  let count = 0;
  return async () => {
    const keys = await run("gpg", "--batch", "--with-colons", "--list-keys");
    const key = /^fpr:+[0-9A-F]{24}([0-9A-F]{16}):/m.exec(keys)?.[1];
    const base = join(work, `reprepro-${++count}`);
    mkdirSync(join(base, "conf"), { recursive: true });
    writeFileSync(
      join(base, "conf/distributions"),
      "Codename: sid\nArchitectures: amd64\nComponents: main\nUpdate: it\n",
    );
    writeFileSync(
      join(base, "conf/updates"),
      `Name: it\nMethod: ${race.track.url}\nSuite: sid\nComponents: main\nArchitectures: amd64\nVerifyRelease: ${key}\n`,
    );
    await run("reprepro", "--basedir", base, "update");
    rmSync(base, { recursive: true, force: true });
  };
}

test.each<readonly [string, () => Promise<Racetrack>]>([
  ["a folder", aFolder],
  ["the grid", () => ServedGrid.start(inject("webapiUrl"))],
])(
  "while packages of %s are added, removed and changed, no client sees a mixture",
  { timeout: raceTimeoutMs },
  async (_what, start) => {
    const track = await start();
    onTestFinished(() => track.end());
    const first = Array.from({ length: packagesAtFirst }, async (_, n) => {
      const name = `first-${n}`;
      return [`${name}.deb`, await aDeb({ package: name, architecture: "amd64" })] as const;
    });
    await track.put(place, new Map(await Promise.all(first)));
    await track.ping("");
    const apt3 = await Apt3.start({ url: track.url, suite: "sid", publicKey: track.publicKey });
    onTestFinished(() => apt3.close());
    const race = new Race(track);
    await Promise.all([
      race.lap("change", churn(race), changeEveryMs),
      race.lap("Date", watchDate(race), dateEveryMs),
      race.lap("by hash", fetchByHash(race)),
      race.lap("apt", runApt(race)),
      race.lap("apt 3", runApt3(apt3)),
      race.lap("aptitude", runAptitude(race)),
      race.lap(
        "debmirror",
        runDebmirror(race, async () => "debian"),
      ),
      race.lap("debmirror of a snapshot", runDebmirror(race, newestSnapshot(race)), snapshotEveryMs),
      race.lap("aptly", runAptly(race)),
      race.lap("reprepro", runReprepro(race)),
    ]);
    expect(race.failures).toEqual([]);
    process.stderr.write(`rounds: ${[...race.rounds].map(([name, rounds]) => `${rounds} ${name}`).join(", ")}\n`);
    expect(race.rounds.get("change")).toBeGreaterThan(fewestChanges);
    for (const name of ["Date", "by hash", "apt", "apt 3", "aptitude", "debmirror", "aptly", "reprepro"]) {
      expect([name, (race.rounds.get(name) ?? 0) > 3]).toEqual([name, true]);
    }
  },
);
