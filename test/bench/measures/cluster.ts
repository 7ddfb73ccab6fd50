// Three replicas that share a Valkey against one server: from a ping to the change on all of them, the start of a replica
// that is added, and requests a second.
import { Redis } from "ioredis";
import { ValkeyUnderTest } from "../../support/valkey.ts";
import type { BenchContext, Served } from "../bench-context.ts";
import { folderTree } from "../bench-context.ts";
import type { BenchServer } from "../bench-server.ts";
import { binaryDirectory } from "../corpus.ts";
import { haproxyBefore } from "../haproxy.ts";
import type { Row } from "../rows.ts";
import { tools } from "../tools.ts";
import { requestsPerSecond } from "../wrk.ts";
import { addOne } from "./append.ts";
import type { Measure } from "./measure.ts";

const maxStartSeconds = 5;
const maxPingFactor = 1.5;
const loadRounds = 3;

export const cluster: Measure = {
  name: "cluster",
  async measure(bench) {
    const { large } = bench.scale;
    const alone = await bench.served(large);
    const fleet = await BenchFleet.start(bench, alone.packages);
    return [
      ...(await pings(bench, alone, fleet)),
      ...(await starts(bench, fleet)),
      ...(await requests(bench, alone.server, fleet)),
    ];
  },
};

class BenchFleet {
  readonly replicas: readonly BenchServer[];
  readonly valkey: ValkeyUnderTest;
  readonly #bench: BenchContext;
  readonly #packages: string;

  private constructor(
    bench: BenchContext,
    packages: string,
    { replicas, valkey }: { readonly replicas: readonly BenchServer[]; readonly valkey: ValkeyUnderTest },
  ) {
    this.#bench = bench;
    this.#packages = packages;
    this.replicas = replicas;
    this.valkey = valkey;
  }

  static async start(bench: BenchContext, packages: string): Promise<BenchFleet> {
    const valkey = await ValkeyUnderTest.start();
    bench.atEnd(() => valkey.stop());
    bench.options.progress("starting three replicas");
    const replicas = await Promise.all([1, 2, 3].map((n) => bench.server(`replica-${n}`, tree(packages, valkey))));
    await Promise.all(replicas.map((replica) => replica.start()));
    for (const replica of replicas) await replica.ready();
    return new BenchFleet(bench, packages, { replicas, valkey });
  }

  /** A replica with an empty state directory, which has not started yet. */
  async another(): Promise<BenchServer> {
    return await this.#bench.server("added-replica", tree(this.#packages, this.valkey));
  }

  /** The memory that Valkey uses, in bytes. */
  async memoryBytes(): Promise<number> {
    const redis = new Redis(this.valkey.port, "127.0.0.1");
    try {
      return Number(/^used_memory:(\d+)/m.exec(await redis.info("memory"))?.[1]);
    } finally {
      redis.disconnect();
    }
  }

  async idle(): Promise<void> {
    await Promise.all(this.replicas.map((replica) => replica.idle()));
  }
}

const tree = (packages: string, valkey: ValkeyUnderTest): string =>
  `${folderTree(packages)}\n[cluster]\nurl = "${valkey.url}"\nname = "bench"`;

/** By turns: one server, then one replica after the other. */
async function pings(bench: BenchContext, alone: Served, fleet: BenchFleet): Promise<readonly Row[]> {
  const { large, rounds } = bench.scale;
  const [one, three]: [number[], number[]] = [[], []];
  for (let round = 0; round <= rounds; round++) {
    bench.options.progress(`ping ${round} of ${rounds}`);
    const replica = fleet.replicas[round % fleet.replicas.length];
    if (replica === undefined) throw new Error("there are no replicas");
    for (const [server, samples] of [
      [alone.server, one],
      [replica, three],
    ] as const) {
      await alone.server.idle();
      await fleet.idle();
      const { seconds } = await addOne(bench, { ...alone, server }, "file");
      if (round > 0) samples.push(seconds);
    }
  }
  return [
    {
      measure: `append to ${large} with three replicas, until all of them serve it`,
      unit: "seconds",
      ours: three,
      against: { name: "one server", samples: one },
      goal: { kind: "at-most-times", factor: maxPingFactor },
    },
  ];
}

async function starts(bench: BenchContext, fleet: BenchFleet): Promise<readonly Row[]> {
  const { large, slowRounds } = bench.scale;
  const [served, ready]: [number[], number[]] = [[], []];
  // The packages that only the other server was told of.
  await fleet.replicas[0]?.ping(binaryDirectory);
  const bytesPerPackage = Math.round((await fleet.memoryBytes()) / large);
  for (let round = 0; round < slowRounds; round++) {
    bench.options.progress(`added replica ${round + 1} of ${slowRounds}`);
    await fleet.idle();
    const added = await fleet.another();
    const begunMs = performance.now();
    served.push(await added.start());
    await added.ready();
    ready.push((performance.now() - begunMs) / 1000);
    await added.idle();
    if ((await added.packages()) !== (await fleet.replicas[0]?.packages()))
      throw new Error("the added replica differs");
    const reads = await added.metric('tahoe_apt_inspections_total.*source="read"');
    const bytes = await added.metric("tahoe_apt_tree_read_bytes_total");
    if (/ [1-9]\d*$/m.test(`${reads}\n${bytes}`))
      throw new Error(`the added replica has read packages: ${reads} ${bytes}`);
    added.memory.stop();
    await added.stop();
  }
  bench.notes.add(
    `An added replica read no package: it took ${large} inspections and all segments from Valkey, which used ${bytesPerPackage} bytes of memory a package.`,
  );
  return [
    {
      measure: `start of an added replica with ${large}, to the first InRelease`,
      unit: "seconds",
      ours: served,
      goal: { kind: "below", value: maxStartSeconds },
    },
    {
      measure: `start of an added replica with ${large}, until the load balancer uses it`,
      unit: "seconds",
      ours: ready,
    },
  ];
}

async function requests(bench: BenchContext, alone: BenchServer, fleet: BenchFleet): Promise<readonly Row[]> {
  if (!bench.has(tools.wrk) || !bench.has(tools.haproxy)) return [];
  const urls = fleet.replicas.map(({ url }) => url);
  const front = await haproxyBefore(bench, urls);
  const rate = (url: string): Promise<number> =>
    requestsPerSecond(
      { url: `${url}/debian/dists/sid/InRelease`, headers: {}, seconds: bench.scale.loadSeconds },
      bench.signal,
    );
  const [one, direct, through]: [number[], number[], number[]] = [[], [], []];
  for (let round = 0; round <= loadRounds; round++) {
    bench.options.progress(`load ${round} of ${loadRounds}`);
    await fleet.idle();
    const rates = {
      one: await rate(alone.url),
      direct: (await Promise.all(urls.map(rate))).reduce((sum, each) => sum + each, 0),
      through: await rate(front),
    };
    if (round === 0) continue;
    one.push(rates.one);
    direct.push(rates.direct);
    through.push(rates.through);
  }
  bench.notes.add(
    "The replicas, HAProxy and wrk share the processors of one machine: three cannot be faster than one here.",
  );
  const against = { name: "one server", samples: one };
  return [
    {
      measure: "InRelease from three replicas, each with a load of its own",
      unit: "requests/s",
      ours: direct,
      against,
    },
    { measure: "InRelease from three replicas through HAProxy", unit: "requests/s", ours: through, against },
  ];
}
