// The connection to a real Valkey, which is killed and started again.
import { execFileSync } from "node:child_process";
import { afterEach, describe, expect, test, vi } from "vitest";
import { silentLog } from "../../src/base/log.ts";
import { Secret } from "../../src/base/secret.ts";
import { Valkey, ValkeyUnavailable } from "../../src/cluster/valkey.ts";
import { parseValkeyUrl } from "../../src/cluster/valkey-settings.ts";
import { CuttableLinks } from "../support/cuttable-links.ts";
import { ValkeyUnderTest, valkeyProgram } from "../support/valkey.ts";

const opened: { close?(): void; stop?(): Promise<void> }[] = [];
afterEach(async () => {
  for (const each of opened.splice(0).reverse()) {
    each.close?.();
    await each.stop?.();
  }
});

async function started(options: readonly string[] = []): Promise<ValkeyUnderTest> {
  const server = await ValkeyUnderTest.start(options);
  opened.push(server);
  return server;
}

function connect(server: ValkeyUnderTest, changes: Partial<ReturnType<ValkeyUnderTest["settings"]>> = {}): Valkey {
  const valkey = new Valkey({ ...server.settings(), ...changes }, silentLog);
  opened.push(valkey);
  return valkey;
}

const connected = (valkey: Valkey) => vi.waitFor(() => expect(valkey.isConnected).toBe(true), 10_000);

describe("the connection to Valkey", () => {
  test("sends commands, with a password if there is one", async () => {
    const server = await started(["--requirepass", "a secret"]);
    const valkey = connect(server, { password: new Secret("a secret") });
    await connected(valkey);
    await valkey.run((redis) => redis.set(`${valkey.prefix}a`, "1"));
    expect(await valkey.run((redis) => redis.get(`${valkey.prefix}a`))).toBe("1");
  });

  test("fails at once, with a code of its own, while Valkey is away, and works again when it is back", async () => {
    const server = await started();
    const valkey = connect(server);
    await connected(valkey);
    await server.kill();
    await vi.waitFor(() => expect(valkey.isConnected).toBe(false), 10_000);
    const begunMs = performance.now();
    await expect(valkey.run((redis) => redis.get("a"))).rejects.toBeInstanceOf(ValkeyUnavailable);
    expect(performance.now() - begunMs).toBeLessThan(1000);
    await server.restart();
    await connected(valkey);
    expect(await valkey.run((redis) => redis.get("a"))).toBeNull();
  });

  test("receives messages again after Valkey was restarted", async () => {
    const server = await started();
    const [one, other] = [connect(server), connect(server)];
    const received: string[] = [];
    await Promise.all([connected(one), connected(other)]);
    await one.subscribe("news", (message) => received.push(message.toString()));
    const publish = (text: string) =>
      vi.waitFor(async () => {
        await other.run((redis) => redis.publish(`${other.prefix}news`, text));
        expect(received).toContain(text);
      }, 10_000);
    await publish("before");
    await server.restart();
    await publish("after");
  });

  test("sends a command at once, before the main thread goes on", async () => {
    const server = await started();
    const valkey = connect(server);
    await connected(valkey);
    const key = `${valkey.prefix}a`;
    const sent = valkey.run((redis) => redis.set(key, "1"));
    const program = valkeyProgram().replace("server", "cli");
    expect(execFileSync(program, ["-p", String(server.port), "get", key], { encoding: "utf8" })).toBe("1\n");
    await sent;
  });

  test("is made again when all its packets are dropped, for commands and for messages", async () => {
    const server = await started();
    const links = await CuttableLinks.start([server.port]);
    opened.push({ stop: () => links.end() });
    const [through, other] = [connect(server, { urls: [`redis://127.0.0.1:${links.ports[0]}`] }), connect(server)];
    const received: string[] = [];
    await Promise.all([connected(through), connected(other)]);
    await through.subscribe("news", (message) => received.push(message.toString()));
    await links.cut(0);
    await vi.waitFor(() => expect(through.isConnected).toBe(false), 10_000);
    await links.mend(0);
    await connected(through);
    expect(await through.run((redis) => redis.get("a"))).toBeNull();
    await vi.waitFor(async () => {
      await other.run((redis) => redis.publish(`${other.prefix}news`, "after"));
      expect(received).toContain("after");
    }, 10_000);
  });
});

describe("listeners of the connection", () => {
  test("can be many, without a warning of Node.js, and all are called at each connection until they are removed", async () => {
    const server = await started();
    const valkey = connect(server);
    await connected(valkey);
    const warnings: Error[] = [];
    const noteWarning = (warning: Error) => warnings.push(warning);
    process.on("warning", noteWarning);
    const calls = Array.from({ length: 20 }, () => 0);
    const removals = calls.map((_, n) => valkey.onReady(() => (calls[n] = (calls[n] ?? 0) + 1)));
    const received = new Set<number>();
    await Promise.all(calls.map((_, n) => valkey.subscribe(`channel ${n}`, () => received.add(n))));
    removals[0]?.();
    await server.restart();
    await vi.waitFor(() => expect(calls).toEqual([1, ...Array.from({ length: 19 }, () => 2)]), 10_000);
    await vi.waitFor(async () => {
      await Promise.all(calls.map((_, n) => valkey.run((redis) => redis.publish(`${valkey.prefix}channel ${n}`, ""))));
      expect(received.size).toBe(20);
    }, 10_000);
    process.off("warning", noteWarning);
    expect(warnings).toEqual([]);
  });
});

describe("the address of Valkey", () => {
  test.each(["redis://localhost", "rediss://10.0.0.9:6380/2", "valkey://[::1]:6379", "redis+unix:///run/valkey.sock"])(
    "%s is accepted",
    (url) => expect(parseValkeyUrl(url)).toBe(url),
  );

  test.each(["localhost:6379", "http://localhost", ""])("%j is refused", (url) =>
    expect(() => parseValkeyUrl(url)).toThrow("is not of the form"),
  );

  test("with a password in it is refused, without being repeated", () => {
    expect(() => parseValkeyUrl("redis://:hunter22@localhost")).toThrow(/^contains a password/);
    expect(() => parseValkeyUrl("redis://:hunter22@localhost")).not.toThrow("hunter22");
  });
});
