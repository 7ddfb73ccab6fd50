// The webapi tree with retries and several gateways: which failures are retried, and where.
import { expect, test } from "vitest";
import { rootPath } from "../../../src/base/names.ts";
import { withResolvers } from "../../../src/base/with-resolvers.ts";
import { FailoverTree } from "../../../src/storage/decorators/failover-tree.ts";
import { RetryingTree } from "../../../src/storage/decorators/retrying-tree.ts";
import type { Answer } from "../../support/fake-gateway.ts";
import { against, failure, fileOf, signal } from "../../support/gateway-subject.ts";
import { collect } from "../../support/tree-contract.ts";

const retries = { attempts: 3, firstDelayMs: 1, maxDelayMs: 5, random: () => 0.5 };

/** Sends the requested part of `content`, and closes the connection after `perRequest` bytes. */
const breaking = (content: Buffer, perRequest: number): Answer => {
  return (request, response) => {
    const start = Number(/bytes=(\d+)-/.exec(request.headers.range ?? "bytes=0-")?.[1]);
    response.writeHead(start === 0 ? 200 : 206, {
      "Content-Length": content.length - start,
      ...(start > 0 && { "Content-Range": `bytes ${start}-${content.length - 1}/${content.length}` }),
    });
    const isLast = start + perRequest >= content.length;
    response.write(content.subarray(start, start + perRequest), () => !isLast && response.socket?.end());
    if (isLast) response.end();
  };
};

test("with retries, a stream that keeps breaking is resumed where it broke, on the next gateway", async () => {
  const content = Buffer.from(Array.from({ length: 3000 }, (_, index) => index % 251));
  const first = await against(breaking(content, 400));
  const second = await against(breaking(content, 700));
  const tree = new RetryingTree(new FailoverTree([first.tree, second.tree]), retries);
  expect((await collect(tree.open(fileOf(3000), { start: 100 }, signal))).equals(content.subarray(100))).toBe(true);
  const ranges = [...first.gateway.requests, ...second.gateway.requests].map((line) => line.split(" ")[2] ?? "");
  expect(ranges.toSorted()).toEqual([
    "bytes=100-2999",
    "bytes=1200-2999",
    "bytes=1600-2999",
    "bytes=2300-2999",
    "bytes=2700-2999",
    "bytes=500-2999",
  ]);
});

test("without a content id, a broken stream is not resumed, because the bytes may have changed", async () => {
  const { tree } = await against((request, response) => {
    if (request.url?.includes("t=json") === true) {
      response.end('["filenode", {"mutable": true, "ro_uri": "URI:SSK-RO:x"}]');
    } else breaking(Buffer.alloc(1000), 400)(request, response, 0);
  });
  await failure(
    collect(new RetryingTree(tree, retries).open({ ...fileOf(1000), content: undefined }, undefined, signal)),
  );
});

test("with retries, transient failures are retried up to the limit and permanent ones are not", async () => {
  const busy = await against((_, response) => response.writeHead(503).end());
  await failure(new RetryingTree(busy.tree, retries).look(rootPath, signal));
  await failure(collect(new RetryingTree(busy.tree, retries).open(fileOf(10), undefined, signal)));
  expect(busy.gateway.requests).toHaveLength(2 * retries.attempts);
  const forbidding = await against((_, response) => response.writeHead(403).end());
  await failure(new RetryingTree(forbidding.tree, retries).look(rootPath, signal));
  expect(forbidding.gateway.requests).toHaveLength(1);
  const recovering = await against((_, response, count) =>
    count === 0 ? response.writeHead(503).end() : response.end('["dirnode", {"children": {}}]'),
  );
  expect(await new RetryingTree(recovering.tree, retries).look(rootPath, signal)).toMatchObject({ kind: "directory" });
});

test("an abort ends the wait between two attempts", async () => {
  const { tree } = await against((_, response) => response.writeHead(503).end());
  const [controller, waits] = [new AbortController(), withResolvers<void>()];
  const random = () => {
    waits.resolve();
    return 0.5;
  };
  const slow = new RetryingTree(tree, { ...retries, random, firstDelayMs: 60_000, maxDelayMs: 60_000 });
  const looking = slow.look(rootPath, controller.signal);
  await waits.promise;
  controller.abort(new Error("gone"));
  await expect(looking).rejects.toThrow("gone");
});

test("of several gateways, the healthy one is used first from then on", async () => {
  const sick = await against((_, response) => response.writeHead(500).end());
  const well = await against((_, response) => response.end('["dirnode", {"children": {}}]'));
  const tree = new FailoverTree([sick.tree, well.tree]);
  for (let round = 0; round < 5; round++) await tree.look(rootPath, signal);
  expect(sick.gateway.requests).toHaveLength(1);
  expect(well.gateway.requests).toHaveLength(5);
  await well.gateway.end();
  await failure(tree.look(rootPath, signal));
  expect(sick.gateway.requests).toHaveLength(2);
});
