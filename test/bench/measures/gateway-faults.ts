// A gateway that hangs or trickles for a while: what is answered meanwhile, and how soon all is well again.
import { setTimeout as sleep } from "node:timers/promises";
import { parseTreePath } from "../../../src/base/names.ts";
import type { Fault } from "../../support/fault-proxy.ts";
import { faultProxy } from "../../support/fault-proxy.ts";
import type { BenchContext } from "../bench-context.ts";
import { binaryDirectory } from "../corpus.ts";
import type { Row } from "../rows.ts";
import { longestRequest, secondsToServable } from "./attack.ts";
import type { Measure } from "./measure.ts";

const faultMs = 20_000;
const builders = 10;
const goals = { recoverySeconds: 15, requestSeconds: 0.5 };
const faults: readonly Fault[] = ["hang", "trickle"];

export const gatewayFaults: Measure["measure"] = async (bench) => {
  const rows: Row[] = [];
  for (const fault of faults) rows.push(...(await watch(bench, fault)));
  return rows;
};

async function watch(bench: BenchContext, fault: Fault): Promise<readonly Row[]> {
  const { options, scale, signal } = bench;
  const name = fault === "hang" ? "a gateway that hangs for 20 s" : "a gateway that sends a byte a second for 20 s";
  options.progress(name);
  const benchGrid = await bench.grid();
  const tree = await benchGrid.emptyTree();
  const numbers = Array.from({ length: scale.grid }, (_, number) => number);
  await benchGrid.fill(tree, parseTreePath(`${binaryDirectory}/first`), numbers, false);
  const proxy = await faultProxy(benchGrid.grid.webapiUrl);
  bench.atEnd(() => proxy.end());
  const server = await bench.server(fault, tree.configuration.replace(benchGrid.grid.webapiUrl, proxy.url));
  await server.start();
  await server.idle();

  const over = new AbortController();
  const requests = longestRequest(server, over.signal);
  proxy.fault(fault);
  const pings: Promise<unknown>[] = [];
  for (let n = 0; n < builders; n++) {
    const deb = await bench.newDeb();
    const path = `${binaryDirectory}/builder${n}/${deb.name}`;
    await benchGrid.writer.put(tree.root, parseTreePath(path), deb.bytes, signal);
    pings.push(secondsToServable(server, path, signal));
  }
  const absent = timed(() => server.get("no/such/file"));
  await sleep(faultMs);
  proxy.recover();
  const recovery = await timed(() => Promise.all(pings));
  over.abort();
  const samples = { requests: await requests, absent: await absent };
  await server.stop();
  server.memory.stop();
  return [
    {
      measure: `${name}: from its recovery until ${builders} waiting pings are answered`,
      ...secondsRow(recovery, goals.recoverySeconds),
    },
    { measure: `${name}: the longest GET InRelease`, ...secondsRow(samples.requests, goals.requestSeconds) },
    { measure: `${name}: the answer for an absent path meanwhile`, unit: "seconds", ours: [samples.absent] },
  ];
}

const secondsRow = (seconds: number, value: number): Omit<Row, "measure"> => ({
  unit: "seconds",
  ours: [seconds],
  goal: { kind: "below", value },
});

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begunMs = performance.now();
  await work();
  return (performance.now() - begunMs) / 1000;
}
