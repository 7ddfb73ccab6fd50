// Checks of objects: the responses of Tahoe that are accepted, and those that are not.
import { expect, test } from "vitest";
import { rootPath } from "../../../src/base/names.ts";
import { Webapi } from "../../../src/storage/tahoe/webapi.ts";
import { WebapiHealthCheck } from "../../../src/storage/tahoe/webapi-health.ts";
import { fakeGateway } from "../../support/fake-gateway.ts";
import { cap, signal } from "../../support/gateway-subject.ts";

const check = async (response: unknown) => {
  const gateway = await fakeGateway((_request, reply) => reply.end(JSON.stringify(response)));
  try {
    const health = new WebapiHealthCheck(new Webapi(gateway.url), cap);
    return await health.check({ path: rootPath, content: undefined }, { verify: false, repair: false }, signal);
  } finally {
    await gateway.end();
  }
};

test("an object with a literal cap, of which Tahoe reports no shares, is healthy", async () => {
  const expected = { state: "healthy", storageIndex: "", shares: undefined, repaired: false };
  expect(await check({ "storage-index": "", results: { healthy: true } })).toEqual(expected);
});

test("an object with shares is healthy, unhealthy or lost, with the counts of its shares", async () => {
  const counts = { "count-shares-good": 2, "count-shares-needed": 1, "count-shares-expected": 3 };
  const results = { healthy: false, recoverable: true, ...counts };
  const shares = { good: 2, needed: 1, expected: 3 };
  expect(await check({ "storage-index": "abc", results })).toMatchObject({ state: "unhealthy", shares });
  const lost = await check({ "storage-index": "abc", results: { ...results, recoverable: false } });
  expect(lost).toMatchObject({ state: "lost" });
});

test("a response without a verdict is not accepted", async () => {
  await expect(check({ "storage-index": "abc", results: {} })).rejects.toThrow("invalid response to a check");
});
