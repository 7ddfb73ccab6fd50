// A Redis Cluster of three nodes on free loopback ports, without replicas of its own.
import { Redis } from "ioredis";
import { vi } from "vitest";
import type { ValkeySettings } from "../../src/cluster/valkey-settings.ts";
import { freePort } from "./server.ts";
import { ValkeyUnderTest } from "./valkey.ts";

const nodeCount = 3;
const slotCount = 16_384;

export class ValkeyClusterUnderTest {
  readonly #nodes: readonly ValkeyUnderTest[];

  private constructor(nodes: readonly ValkeyUnderTest[]) {
    this.#nodes = nodes;
  }

  /** Resolves when all nodes know all slots. */
  static async start(): Promise<ValkeyClusterUnderTest> {
    const buses: number[] = [];
    const nodes: ValkeyUnderTest[] = [];
    for (let n = 0; n < nodeCount; n++) {
      const bus = await freePort();
      const options = ["--cluster-enabled", "yes", "--cluster-port", String(bus), "--cluster-node-timeout", "5000"];
      nodes.push(await ValkeyUnderTest.start(options));
      buses.push(bus);
    }
    const connections = nodes.map(({ port }) => new Redis(port, "127.0.0.1"));
    try {
      for (const [n, connection] of connections.entries()) {
        const [from, to] = [n, n + 1].map((each) => Math.floor((slotCount * each) / nodeCount));
        await connection.call("CLUSTER", "ADDSLOTSRANGE", String(from), String((to ?? 0) - 1));
        await connections[0]?.call("CLUSTER", "MEET", "127.0.0.1", String(nodes[n]?.port), String(buses[n]));
      }
      const isComplete = async (connection: Redis): Promise<void> => {
        const info = String(await connection.call("CLUSTER", "INFO"));
        if (!info.includes("cluster_state:ok") || !info.includes(`cluster_slots_ok:${slotCount}`))
          throw new Error(info);
      };
      for (const connection of connections) await vi.waitFor(() => isComplete(connection), 20_000);
    } finally {
      for (const connection of connections) connection.disconnect();
    }
    return new ValkeyClusterUnderTest(nodes);
  }

  /** Settings to connect with, which name one node. */
  settings(name = "test"): ValkeySettings {
    const [first] = this.#nodes;
    if (first === undefined) throw new Error("the cluster has no nodes");
    return { ...first.settings(name), mode: "cluster" };
  }

  async stop(): Promise<void> {
    await Promise.all(this.#nodes.map((node) => node.stop()));
  }
}
