// Replicas of one folder in this process, which share a real Valkey.
import { expect, vi } from "vitest";
import type { Log } from "../../src/base/log.ts";
import { silentLog } from "../../src/base/log.ts";
import { parseRepositoryName, parseSuite, parseTreePath, rootPath } from "../../src/base/names.ts";
import { Secret } from "../../src/base/secret.ts";
import { Fleet } from "../../src/cluster/fleet.ts";
import type { ReplicatedRepository } from "../../src/cluster/replicated-repository.ts";
import { Valkey } from "../../src/cluster/valkey.ts";
import type { PingOutcome } from "../../src/publishing/served-repository.ts";
import { aDeb } from "./debs.ts";
import type { ServedFolderOptions } from "./served-folder.ts";
import { ServedFolder, unlistedWhile } from "./served-folder.ts";
import { ValkeyUnderTest } from "./valkey.ts";

const name = parseRepositoryName("debian");
const noSignal = new AbortController().signal;

export interface ReplicaOptions extends ServedFolderOptions {
  /** What seals the values in Valkey. */
  readonly secret?: string;
  readonly log?: Log;
  /** The fingerprints of the signing keys. */
  readonly keys?: readonly string[];
}

/** One replica. It ends with the test. */
export class ReplicaUnderTest {
  readonly fleet: Fleet;
  readonly replicated: ReplicatedRepository;
  readonly served: ServedFolder;
  /** Whether it cannot list the folder. */
  isCutFromTree = false;

  /** @param options.folder that of the first replica */
  constructor(valkey: Reachable, options: ReplicaOptions = {}) {
    const log = options.log ?? silentLog;
    const secret = new Secret(options.secret ?? "a secret");
    this.fleet = new Fleet({
      settings: valkey.settings(),
      secret,
      version: "1",
      address: () => "here",
      log,
      now: Date.now,
    });
    this.replicated = this.fleet.repository({
      name,
      secret,
      signingKeys: options.keys ?? ["A"],
      settings: {},
      onPublisher: () => undefined,
    });
    const replicas = this.replicated.publicationsOf(name);
    this.served = new ServedFolder({
      ...options,
      replicas,
      stopped: async () => await this.fleet.close(),
      wrap: unlistedWhile(() => this.isCutFromTree),
    });
    replicas.attach(this.served.repository);
  }

  /** Begins to take part. @param pollSeconds how often the tree is read without a ping */
  async start(pollSeconds = 3600): Promise<void> {
    this.replicated.attach([this.served.repository], this.served.repository);
    this.fleet.add(this.replicated);
    await Promise.all([this.replicated.prepare(), this.fleet.start()]);
    void this.served.repository.start(pollSeconds);
  }

  /** Ends as by a signal. */
  async end(): Promise<void> {
    await this.fleet.retire();
    await this.served.stop();
  }

  /** Loses its connection to Valkey for good, as if it was killed. */
  cut(): void {
    this.fleet.valkey.close();
  }

  /** A ping that this replica receives. */
  async ping(path = ""): Promise<PingOutcome> {
    return await this.replicated.ping(path === "" ? rootPath : parseTreePath(path), noSignal);
  }
}

/** Where the packages of `startedReplicas` are. */
export const amd64 = "dists/sid/main/binary-amd64";
export const sid = parseSuite("sid");

/** Somewhere that replicas can connect to. */
type Reachable = Pick<ValkeyUnderTest, "settings">;

export async function aUsedValkey(): Promise<ValkeyUnderTest> {
  const valkey = await ValkeyUnderTest.start();
  await isUsed(valkey);
  return valkey;
}

/** Makes a Valkey look as if it had data for long: otherwise some seconds pass until a lease is taken. */
export async function isUsed(valkey: Reachable): Promise<void> {
  await withValkey(valkey, async (connection) => {
    await connection.run((redis) => redis.set(`${connection.prefix}epoch`, "1"));
  });
}

/** Connects to a Valkey to look into it, or to change something. */
export async function withValkey<Value>(
  valkey: Reachable,
  task: (connection: Valkey) => Promise<Value>,
): Promise<Value> {
  const connection = new Valkey(valkey.settings(), silentLog);
  try {
    await vi.waitFor(() => expect(connection.isConnected).toBe(true), 10_000);
    return await task(connection);
  } finally {
    connection.close();
  }
}

/** Replicas that have published one package. */
export async function startedReplicas(
  valkey: Reachable,
  count: number,
  options: ReplicaOptions = {},
): Promise<ReplicaUnderTest[]> {
  const first = new ReplicaUnderTest(valkey, options);
  first.served.put(`${amd64}/hello_1_amd64.deb`, await aDeb({ package: "hello" }));
  const replicas = [first];
  while (replicas.length < count)
    replicas.push(new ReplicaUnderTest(valkey, { ...options, folder: first.served.folder }));
  for (const replica of replicas) await replica.start();
  await agreed(replicas);
  return replicas;
}

/** Resolves when all are ready and one of them publishes. */
export async function agreed(replicas: readonly ReplicaUnderTest[]): Promise<void> {
  await vi.waitFor(() => {
    for (const { fleet, served } of replicas) {
      expect([fleet.notReady, fleet.pingRefusal]).toEqual([undefined, undefined]);
      expect(served.repository.status().notReady).toBeUndefined();
    }
    expect(replicas.filter(({ replicated }) => replicated.isPublisher)).toHaveLength(1);
    const ids = new Set(replicas.map(currentId));
    expect([ids.size, ids.has(undefined)]).toEqual([1, false]);
  }, 30_000);
}

export const currentId = ({ served }: ReplicaUnderTest): string | undefined => served.repository.currentOf(sid)?.id;

export function roles(replicas: readonly ReplicaUnderTest[]): {
  readonly publisher: ReplicaUnderTest;
  readonly followers: readonly ReplicaUnderTest[];
} {
  const publisher = replicas.find(({ replicated }) => replicated.isPublisher);
  if (publisher === undefined) throw new Error("nobody publishes");
  return { publisher, followers: replicas.filter((replica) => replica !== publisher) };
}

/** Puts another package into the folder. */
export const addPackage = async (replica: ReplicaUnderTest, version: string) =>
  replica.served.put(`${amd64}/more_${version}_amd64.deb`, await aDeb({ package: "more", version }));

/** The InRelease that each replica serves now. */
export const releases = async (replicas: readonly ReplicaUnderTest[]) =>
  await Promise.all(replicas.map(({ served }) => served.text("dists/sid/InRelease")));

export const snapshotsOf = ({ served }: ReplicaUnderTest): string[] =>
  [...served.repository.snapshots()].map(({ suite, id }) => `${suite} ${id}`);

/** The by-hash paths of the indices that an InRelease lists. */
export const indicesIn = (release: string): string[] => {
  const [, list = ""] = /^SHA256:\n((?: .*\n?)*)/m.exec(release) ?? [];
  return [...list.matchAll(/^ ([0-9a-f]{64}) +\d+ (.*)\/[^/]+$/gm)].map(
    ([, digest, directory]) => `dists/sid/${directory}/by-hash/SHA256/${digest}`,
  );
};
