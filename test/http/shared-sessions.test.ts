// Several servers know together which publication a client reads by plain names: each asks the others when it matters.
import type { IncomingMessage } from "node:http";
import { expect, test } from "vitest";
import type { SharedSession } from "../../src/http/mirror-sessions.ts";
import { defaultMirrorLimits, MirrorSessions } from "../../src/http/mirror-sessions.ts";

const suite = "debian sid";
// A proxy has sent it, so that no connection identifies the client.
const request = { headers: { "x-forwarded-for": "192.0.2.1" }, socket: {} } as unknown as IncomingMessage;

/** Two servers that ask each other, with one clock. */
function twoServers() {
  let nowMs = 1_000_000;
  const servers: MirrorSessions[] = [];
  const open = (other: number): MirrorSessions =>
    new MirrorSessions(defaultMirrorLimits, {
      behindProxy: true,
      clock: () => nowMs,
      shared: {
        haveLoadBalancer: false,
        set: async () => undefined,
        extend: () => undefined,
        get: async (key): Promise<SharedSession | undefined> => servers[other]?.known(key),
      },
    });
  servers.push(open(1), open(0));
  const [one, other] = servers as [MirrorSessions, MirrorSessions];
  const indexAt = async (server: MirrorSessions, currentId: string): Promise<string | undefined> => {
    const session = server.of(request);
    await session?.learn?.(suite, undefined, currentId);
    return session?.continued(suite);
  };
  return { one, other, indexAt, pass: (seconds: number) => (nowMs += seconds * 1000) };
}

test("a server asks for the publication that a client began to read elsewhere", async () => {
  const { one, other, indexAt } = twoServers();
  one.of(request)?.begin(suite, "InRelease", "first");
  expect(await indexAt(other, "second")).toBe("first");
});

test("a session goes on at the server where it began while the client uses another one", async () => {
  const { one, other, indexAt, pass } = twoServers();
  one.of(request)?.begin(suite, "InRelease", "first");
  for (let count = 0; count < 4; count++) {
    pass(defaultMirrorLimits.mirrorIdleSeconds - 10);
    expect(await indexAt(other, "second")).toBe("first");
  }
  expect(await indexAt(one, "second")).toBe("first");
});

test("nobody is told of a session that has ended", async () => {
  const { one, other, indexAt, pass } = twoServers();
  one.of(request)?.begin(suite, "InRelease", "first");
  pass(defaultMirrorLimits.mirrorIdleSeconds + 1);
  expect(await indexAt(other, "second")).toBeUndefined();
});
