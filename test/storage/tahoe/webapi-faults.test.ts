// The webapi tree with a gateway that fails in every way: errors are correct and contain no caps, and nothing hangs.

import { setTimeout as wait } from "node:timers/promises";
import { inspect } from "node:util";
import { expect, test } from "vitest";
import { LimitExceeded } from "../../../src/base/errors.ts";
import { parseTreePath, rootPath } from "../../../src/base/names.ts";
import { defaultListingLimits, ListingReader } from "../../../src/storage/tahoe/listing.ts";
import { Webapi } from "../../../src/storage/tahoe/webapi.ts";
import { WebapiTree } from "../../../src/storage/tahoe/webapi-tree.ts";
import type { Answer } from "../../support/fake-gateway.ts";
import { fakeGateway } from "../../support/fake-gateway.ts";
import { against, cap, ending, failure, fileOf, quick, secret, signal } from "../../support/gateway-subject.ts";
import { collect } from "../../support/tree-contract.ts";
import { onceUnchanged } from "../../support/unchanged.ts";

const faults: ReadonlyArray<readonly [what: string, transient: boolean, answer: Answer]> = [
  ["answers 500", true, (_, response) => response.writeHead(500).end(`no ${secret}`)],
  ["answers 503", true, (_, response) => response.writeHead(503).end()],
  ["has not enough shares", true, (_, response) => response.writeHead(410).end("{}")],
  ["is asked too often", true, (_, response) => response.writeHead(429).end()],
  ["forbids", false, (_, response) => response.writeHead(403).end()],
  ["redirects", false, (request, response) => response.writeHead(302, { Location: `/elsewhere${request.url}` }).end()],
  ["never answers", true, () => {}],
  ["hangs up", true, (request) => request.socket.destroy()],
  ["speaks no HTTP", true, (request) => request.socket.end("gibberish\r\n\r\n")],
];

test.each(faults)(
  "a gateway that %s is unavailable (transient: %s), and no cap is shown",
  async (_what, transient, answer) => {
    const { tree } = await against(answer);
    expect((await failure(tree.look(rootPath, signal))).transient).toBe(transient);
    expect((await failure(tree.look(parseTreePath("dists/sid"), signal))).transient).toBe(transient);
    expect((await failure(collect(tree.open(fileOf(1000), undefined, signal)))).transient).toBe(transient);
  },
);

test("a gateway that does not exist is unavailable", async () => {
  const { tree, gateway } = await against(() => {});
  await gateway.end();
  expect((await failure(tree.look(rootPath, signal))).transient).toBe(true);
});

test("the bytes that a gateway sends for a cap are trusted, so a gateway must be trusted", async () => {
  // The gateway verifies shares with the cap; its client has nothing to compare the response with.
  const content = fileOf(5).content.reveal();
  const { tree } = await against((request, response) => {
    const listing = ["dirnode", { children: { "evil.deb": ["filenode", { ro_uri: content, size: 5 }] } }];
    response.end(request.url?.includes("t=json") === true ? JSON.stringify(listing) : "evil!");
  });
  expect(await tree.look(rootPath, signal)).toMatchObject({ kind: "directory", entries: new Map([["evil.deb", {}]]) });
  expect((await collect(tree.open(fileOf(5), undefined, signal))).toString()).toBe("evil!");
});

test("a root that is not found is unavailable, otherwise a wrong gateway would unpublish everything", async () => {
  const { tree } = await against((_, response) => response.writeHead(404).end());
  await failure(tree.look(rootPath, signal));
  await failure(tree.look(parseTreePath("dists"), signal));
  await failure(tree.look(parseTreePath("dists/sid"), signal));
});

test("an immutable file is never gone: a gateway that does not find it is unavailable", async () => {
  const { tree } = await against((_, response) => response.writeHead(404).end("<h1>not found</h1>"));
  expect((await failure(collect(tree.open(fileOf(1000), undefined, signal)))).transient).toBe(true);
});

test("a 404 is accepted if the parent directory does not list the name, and retried otherwise", async () => {
  let listed = '"dists": ["dirnode", {}]';
  const { tree } = await against((request, response) => {
    if (request.url?.includes("/dists") === true) response.writeHead(404).end("<h1>not found</h1>");
    else response.writeHead(200).end(`["dirnode", {"children": {${listed}}}]`);
  });
  expect((await failure(tree.look(parseTreePath("dists"), signal))).transient).toBe(true);
  listed = "";
  expect(await tree.look(parseTreePath("dists"), signal)).toBeUndefined();
  expect(await tree.look(parseTreePath("dists/sid/main"), signal)).toBeUndefined();
});

test("a 400 proves absence only for a name below a file", async () => {
  const { tree } = await against((request, response) => {
    if (request.url?.includes("/dists/") === true) response.writeHead(400).end();
    else response.writeHead(200).end('["dirnode", {"children": {}}]');
  });
  await failure(tree.look(parseTreePath("dists/sid"), signal));
});

const nonsense = [
  "",
  "<html>",
  "[]",
  "{}",
  '["dirnode"]',
  '["dirnode", {"children": []}]',
  `["dirnode", {"children": {"a": "${secret}"}}]`,
  `["dirnode", {"children": {"a": ["filenode", {"ro_uri": "${secret}"`,
];
test.each(nonsense)("a response that is not a listing is rejected: %s", async (text) => {
  const { tree } = await against((_, response) => response.end(text));
  expect((await failure(tree.look(rootPath, signal))).transient).toBe(true);
});

test("a listing beyond its limits, in bytes or entries, is rejected while it is received", async () => {
  const children = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`n${index}`, ["unknown", {}]]));
  const gateway = await fakeGateway((_, response) => response.end(JSON.stringify(["dirnode", { children }])));
  ending.push(gateway);
  const limited = (maxListingBytes: number, maxEntries: number): Promise<unknown> =>
    new WebapiTree(
      new Webapi(gateway.url),
      cap,
      new ListingReader({ ...defaultListingLimits, maxListingBytes, maxEntries }),
    ).look(rootPath, signal);
  await expect(limited(1000, 1000)).rejects.toBeInstanceOf(LimitExceeded);
  await expect(limited(100_000, 99)).rejects.toBeInstanceOf(LimitExceeded);
  expect(await limited(100_000, 100)).toMatchObject({ kind: "directory" });
});

test("invalid names are reported with a listing, and so is a cap that the gateway does not know", async () => {
  const children = Object.fromEntries(
    ["..", ".", "", "a/b", "new\nline", "nul\u0000", "good"].map((name) => [name, ["unknown", {}]]),
  );
  const { tree } = await against((_, response) => response.end(JSON.stringify(["dirnode", { children }])));
  const node = await tree.look(rootPath, signal);
  if (node?.kind !== "directory") throw new Error("no directory");
  const reason = expect.stringContaining("the gateway does not know the type of its cap");
  expect([...node.entries]).toEqual([["good", { kind: "other", reason, mayBeDirectory: true }]]);
  expect(node.invalidNames).toEqual({ count: 6, examples: ["..", ".", "", "a/b", "new\nline"] });
});

test("missing, old-style or absurd times are handled", async () => {
  const file = (metadata: unknown): unknown => ["filenode", { ro_uri: "URI:LIT:oruw46i", mutable: false, metadata }];
  const children = {
    none: file(undefined),
    old: file({ ctime: 5.25, mtime: 7.5 }),
    absurd: file({ tahoe: { linkcrtime: -1, linkmotime: 1e300 }, apt: null }),
    odd: file({ tahoe: { linkcrtime: "soon", linkmotime: 12.3456 }, apt: { a: 1 } }),
  };
  const { tree } = await against((_, response) => response.end(JSON.stringify(["dirnode", { children }])));
  const node = await tree.look(rootPath, signal);
  const times = [...(node?.kind === "directory" ? node.entries.values() : [])].map((entry) =>
    entry.kind === "file" ? [entry.linkedAtMs, entry.relinkedAtMs] : entry.kind,
  );
  expect(times).toEqual([
    [0, 0],
    [5250, 7500],
    [0, 0],
    [0, 12_346],
  ]);
});

test.each([
  ["with a length", { "Content-Length": "1000" }],
  ["in chunks", {}],
])("a body %s that ends short is an error, and all before is delivered", async (_, headers) => {
  const { tree } = await against((_request, response) => {
    response.writeHead(200, headers);
    response.write(Buffer.alloc(600, 1), () => response.socket?.end());
  });
  let bytes = 0;
  const read = async (): Promise<void> => {
    for await (const chunk of tree.open(fileOf(1000), undefined, signal)) bytes += chunk.length;
  };
  expect((await failure(read())).transient).toBe(true);
  expect(bytes).toBe(600);
});

test("a body that ends regularly but is shorter than its cap says is an error", async () => {
  const { tree } = await against((_, response) => response.end(Buffer.alloc(600, 1)));
  await failure(collect(tree.open(fileOf(1000), undefined, signal)));
});

test("a stalled body times out, but a slow consumer does not cause a timeout", async () => {
  const { tree } = await against((_, response, count) => {
    response.writeHead(200);
    response.write(Buffer.alloc(600, 1));
    if (count > 0) response.end(Buffer.alloc(400, 1));
  });
  expect((await failure(collect(tree.open(fileOf(1000), undefined, signal)))).message).toContain(
    `${quick.stallTimeoutMs / 1000} s`,
  );
  let bytes = 0;
  for await (const chunk of tree.open(fileOf(1000), undefined, signal)) {
    bytes += chunk.length;
    await wait(2 * quick.stallTimeoutMs);
  }
  expect(bytes).toBe(1000);
});

test("a gateway that ignores ranges still gives the right bytes, and one that sends another range is rejected", async () => {
  const content = Buffer.from(Array.from({ length: 256 }, (_, index) => index));
  const { tree } = await against((_, response) => response.end(content));
  expect(await collect(tree.open(fileOf(256), { start: 10, end: 20 }, signal))).toEqual(content.subarray(10, 20));
  expect(await collect(tree.open(fileOf(256), { start: 250 }, signal))).toEqual(content.subarray(250));
  const { tree: other } = await against((_, response) =>
    response.writeHead(206, { "Content-Range": "bytes 0-9/256" }).end(content.subarray(0, 10)),
  );
  await failure(collect(other.open(fileOf(256), { start: 10, end: 20 }, signal)));
});

test("connections are few and reused: finished responses share them, those left early are closed", async () => {
  const gateway = await fakeGateway((_, response) => response.end(Buffer.alloc(1000)));
  ending.push(gateway);
  const tree = new WebapiTree(new Webapi(gateway.url, { ...quick, maxSockets: 3 }), cap);
  for (let round = 0; round < 5; round++) await collect(tree.open(fileOf(1000), undefined, signal));
  expect(await gateway.connections()).toBe(1);
  await Promise.all(Array.from({ length: 30 }, () => collect(tree.open(fileOf(1000), undefined, signal))));
  expect(await gateway.connections()).toBeLessThanOrEqual(3);
});

test("a slow consumer slows the gateway down, and leaving early stops it", async () => {
  const sizeBytes = 256 * 1024 * 1024;
  const { tree, gateway } = await against((_, response) => {
    response.writeHead(200, { "Content-Length": sizeBytes });
    const block = Buffer.alloc(1024 * 1024);
    const push = (): void => {
      while (!response.destroyed && response.write(block));
    };
    response.on("drain", push);
    push();
  });
  for await (const _chunk of tree.open(fileOf(sizeBytes), undefined, signal)) {
    // The socket buffers of the kernel on loopback are some megabytes.
    expect(await onceUnchanged(() => gateway.bytesSent())).toBeLessThan(32 * 1024 * 1024);
    break;
  }
  await expect.poll(() => gateway.connections()).toBe(0);
});

test("user and password in the gateway's URL are sent as such and never shown", async () => {
  let authorization: string | undefined;
  const gateway = await fakeGateway((request, response) => {
    authorization = request.headers.authorization;
    response.writeHead(401).end();
  });
  ending.push(gateway);
  const url = gateway.url.replace("http://", "http://ann:s%40cret@");
  const thrown = await failure(new WebapiTree(new Webapi(url), cap).look(rootPath, signal));
  expect(authorization).toBe(`Basic ${Buffer.from("ann:s@cret").toString("base64")}`);
  expect(thrown.message).not.toContain("cret@");
});

test("an error names a gateway that cannot be reached", async () => {
  const gateway = await fakeGateway((_request, response) => void response.destroy());
  ending.push(gateway);
  const { origin, host } = new URL(gateway.url);
  const thrown = await failure(
    new WebapiTree(new Webapi(`http://ann:s3cret@${host}/behind`), cap).look(rootPath, signal),
  );
  expect(thrown.message).toBe(`cannot read the tree's root: the connection to ${origin} failed (ECONNRESET)`);
});

test.each(["", "127.0.0.1:3456", "file:///x", `http://127.0.0.1:3456/uri/URI:DIR2-RO:${secret}`, "http://h/?q=1"])(
  "%s is no gateway's URL, and the error does not repeat it",
  (url) => {
    let thrown: unknown;
    try {
      new Webapi(url);
    } catch (caught) {
      thrown = caught;
    }
    expect(thrown).toMatchObject({ code: "storage/bad-webapi-url" });
    expect(inspect(thrown)).not.toContain(secret);
  },
);
