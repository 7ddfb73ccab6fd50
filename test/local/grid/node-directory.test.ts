// The ports of a new node.
import { expect, test } from "vitest";
import { areFree, freePorts } from "../../../src/local/grid/node-directory.ts";

test("the ports of a new node are free, different, and none that Linux assigns to connections by itself", async () => {
  for (let time = 1; time <= 50; time++) {
    const ports = await freePorts();
    expect(ports.web).not.toBe(ports.storage);
    expect(await areFree(ports)).toBe(true);
    for (const port of [ports.web, ports.storage]) {
      expect(port).toBeGreaterThanOrEqual(10_000);
      expect(port).toBeLessThan(32_768);
    }
  }
});
