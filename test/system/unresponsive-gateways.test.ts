// Gateways that hang, trickle or stop, and recover: waiting requests are answered soon after, and good gateways are not
// slowed.
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, expect, test } from "vitest";
import { parseTreePath, rootPath } from "../../src/base/names.ts";
import { defaultLimits } from "../../src/config/configuration.ts";
import { openGridTree } from "../../src/server/open-tree.ts";
import type { WebapiLimits } from "../../src/storage/tahoe/webapi.ts";
import { defaultWebapiLimits, Webapi } from "../../src/storage/tahoe/webapi.ts";
import { WebapiTree } from "../../src/storage/tahoe/webapi-tree.ts";
import { WebapiWriter } from "../../src/storage/tahoe/webapi-writer.ts";
import type { Tree } from "../../src/storage/tree.ts";
import type { Answer, FakeGateway } from "../support/fake-gateway.ts";
import { fakeGateway } from "../support/fake-gateway.ts";
import type { Fault, FaultProxy } from "../support/fault-proxy.ts";
import { faultProxy } from "../support/fault-proxy.ts";
import { cap, failure, fileOf, signal } from "../support/gateway-subject.ts";
import { collect } from "../support/tree-contract.ts";

const ending: { end(): Promise<void> }[] = [];
afterAll(async () => {
  await Promise.all(ending.splice(0).map((each) => each.end()));
});

/** A gateway with one directory and one file of 1000 bytes. */
const sound: Answer = (request, response) => {
  if (request.url?.includes("t=json") === true) response.end('["dirnode", {"children": {"a": ["unknown", {}]}}]');
  else response.end(Buffer.alloc(request.url?.includes("LIT") === true ? 4 : 1000));
};

async function gatewayOf(answer: Answer): Promise<FakeGateway> {
  const gateway = await fakeGateway(answer);
  ending.push(gateway);
  return gateway;
}

async function proxyTo(gateway: FakeGateway): Promise<FaultProxy> {
  const proxy = await faultProxy(gateway.url);
  ending.push(proxy);
  return proxy;
}

const treeAt = (urls: readonly string[], webapi: Partial<WebapiLimits> = {}): Tree =>
  openGridTree({ gateways: urls, cap }, { ...defaultLimits, webapi: { ...defaultWebapiLimits, ...webapi } });

const look = (tree: Tree, path: string) => tree.look(parseTreePath(path), signal);
const read = (tree: Tree) => collect(tree.open(fileOf(1000), undefined, signal));

async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const begunMs = performance.now();
  await work();
  return (performance.now() - begunMs) / 1000;
}

test.concurrent.each<readonly [Fault, number]>([
  ["hang", 8],
  ["headers-only", 8],
  ["trickle", 8],
  ["trickle-body", 8],
  ["hang", 19],
])(
  "after a gateway recovers from %s of %i s, all requests are answered within 10 s",
  { timeout: 90_000 },
  async (fault, seconds) => {
    const proxy = await proxyTo(await gatewayOf(sound));
    const tree = treeAt([proxy.url], { maxSockets: 4 });
    await look(tree, "dists");
    proxy.fault(fault);
    // Like a builder who repeats its ping until it succeeds.
    const insist = async (work: () => Promise<unknown>): Promise<void> => {
      for (;;) {
        try {
          return void (await work());
        } catch {
          await wait(1000);
        }
      }
    };
    const requests = [
      ...Array.from({ length: 10 }, (_, index) => insist(() => look(tree, `dists/d${index}`))),
      ...Array.from({ length: 5 }, () => insist(() => read(tree))),
    ];
    await wait(seconds * 1000);
    proxy.recover();
    expect(await secondsOf(() => Promise.all(requests))).toBeLessThan(10);
  },
);

test.concurrent("a gateway that answers nothing is not waited for again and again", { timeout: 60_000 }, async () => {
  const proxy = await proxyTo(await gatewayOf(sound));
  const tree = treeAt([proxy.url], { doubtAfterMs: 300, unresponsiveAfterMs: 1000, firstByteTimeoutMs: 5000 });
  proxy.fault("hang");
  const first = failure(read(tree));
  await wait(5000);
  // Four attempts, and the delays between them.
  expect(await secondsOf(() => failure(look(tree, "absent")))).toBeLessThan(3.5);
  expect((await first).transient).toBe(true);
  proxy.recover();
  await wait(4000);
  expect(await look(tree, "dists")).toMatchObject({ kind: "directory" });
});

test.concurrent("if one gateway hangs, another one answers instead", { timeout: 60_000 }, async () => {
  const hung = await proxyTo(await gatewayOf(sound));
  hung.fault("hang");
  const well = await gatewayOf(sound);
  const tree = treeAt([hung.url, well.url]);
  expect(await secondsOf(() => Promise.all([look(tree, "dists"), read(tree)]))).toBeLessThan(9);
});

test.concurrent("a slow grid gets at most two requests for the same object, and either may answer", {
  timeout: 60_000,
}, async () => {
  const gateway = await gatewayOf((request, response, count) => {
    if (request.url?.includes("t=json") !== true) return sound(request, response, count);
    setTimeout(() => sound(request, response, count), 6000);
  });
  const tree = treeAt([gateway.url], { doubtAfterMs: 300, hedgeListingAfterMs: 1000, unresponsiveAfterMs: 1000 });
  expect(await look(tree, "dists")).toMatchObject({ kind: "directory" });
  expect(gateway.requests.filter((each) => each.includes("t=json"))).toHaveLength(2);
  // One request checked whether it is reachable.
  expect(gateway.requests.filter((each) => each.includes("LIT"))).toHaveLength(1);
});

test.concurrent("second requests are few, however many callers wait", { timeout: 60_000 }, async () => {
  const gateway = await gatewayOf((request, response, count) => {
    if (request.url?.includes("t=json") !== true) return sound(request, response, count);
    setTimeout(() => sound(request, response, count), 3000);
  });
  const limits = { doubtAfterMs: 300, hedgeListingAfterMs: 1000, maxHedges: 2 };
  const tree = new WebapiTree(new Webapi(gateway.url, { ...defaultWebapiLimits, ...limits }), cap);
  await Promise.all(Array.from({ length: 12 }, (_, index) => look(tree, `d${index}`)));
  expect(gateway.requests.filter((each) => each.includes("t=json"))).toHaveLength(12 + 2);
});

test.concurrent("a body that trickles is aborted, with the limit that it missed", { timeout: 60_000 }, async () => {
  const proxy = await proxyTo(await gatewayOf(sound));
  proxy.fault("trickle-body");
  const tree = new WebapiTree(new Webapi(proxy.url, { ...defaultWebapiLimits, stallTimeoutMs: 3000 }), cap);
  const thrown = await failure(read(tree));
  expect(thrown.message).toContain("min_bytes_per_second = 1024");
  expect(thrown.transient).toBe(true);
});

test.concurrent("a busy gateway that does not respond for a while keeps its listing", { timeout: 60_000 }, async () => {
  // Tahoe responds to nothing while it assembles a large listing.
  let busyUntilMs = 0;
  const gateway = await gatewayOf((request, response, count) => {
    if (request.url?.includes("t=json") === true && busyUntilMs === 0) busyUntilMs = performance.now() + 7000;
    setTimeout(() => sound(request, response, count), Math.max(0, busyUntilMs - performance.now()));
  });
  const tree = treeAt([gateway.url], { doubtAfterMs: 300, unresponsiveAfterMs: 1000, hedgeListingAfterMs: 4000 });
  expect(await secondsOf(() => look(tree, "dists"))).toBeLessThan(10);
  expect(gateway.requests.filter((each) => each.includes("t=json"))).toHaveLength(1);
});

const storing: Answer = (request, response) => {
  request.resume();
  request.on("end", () => response.end("URI:LIT:krugkidfnzsc4"));
};
const writerTo = (url: string, limits: Partial<WebapiLimits>): WebapiWriter =>
  new WebapiWriter(new Webapi(url, { ...defaultWebapiLimits, ...limits }));

test.concurrent("an upload that makes progress may take any time", { timeout: 60_000 }, async () => {
  async function* slow(): AsyncGenerator<Uint8Array> {
    for (let piece = 0; piece < 15; piece++) {
      await wait(200);
      yield Buffer.alloc(1000);
    }
  }
  const gateway = await gatewayOf(storing);
  const writer = writerTo(gateway.url, { writeTimeoutMs: 1000, sendTimeoutMs: 1000 });
  expect((await writer.upload(slow(), signal)).reveal()).toBe("URI:LIT:krugkidfnzsc4");
});

test.concurrent("an upload that makes no progress is aborted", { timeout: 60_000 }, async () => {
  const gateway = await gatewayOf((request) => request.pause());
  const writer = writerTo(gateway.url, { sendTimeoutMs: 1000, writeTimeoutMs: 60_000 });
  const seconds = await secondsOf(() => failure(writer.upload(Buffer.alloc(64 * 2 ** 20), signal)));
  expect(seconds).toBeLessThan(10);
});

test.concurrent("the time limit for storing a fully sent upload grows with its size, but is limited", {
  timeout: 60_000,
}, async () => {
  const gateway = await gatewayOf((request, response, count) => {
    request.resume();
    if (count === 0) request.on("end", () => void setTimeout(() => response.end("URI:LIT:krugkidfnzsc4"), 2000));
  });
  const writer = writerTo(gateway.url, { writeTimeoutMs: 500, minStoreBytesPerSecond: 2 ** 20 });
  await writer.upload(Buffer.alloc(4 * 2 ** 20), signal);
  expect(await secondsOf(() => failure(writer.upload(Buffer.alloc(1000), signal)))).toBeLessThan(2);
});

test.concurrent("no request is sent to a gateway after the last caller has aborted", async () => {
  const proxy = await proxyTo(await gatewayOf(sound));
  proxy.fault("hang");
  const left = new AbortController();
  const looking = treeAt([proxy.url]).look(rootPath, left.signal);
  setTimeout(() => left.abort(new Error("gone")), 200);
  await expect(looking).rejects.toThrow("gone");
  await expect.poll(() => proxy.connections()).toBe(0);
});
