// A web API tree with a fake gateway, for failures that a real one cannot be made to show.
import { inspect } from "node:util";
import { afterEach, expect } from "vitest";
import { ContentId } from "../../src/base/content-id.ts";
import type { rootPath } from "../../src/base/names.ts";
import { parseTreePath } from "../../src/base/names.ts";
import { parseReadCap } from "../../src/storage/tahoe/caps.ts";
import { defaultWebapiLimits, Webapi } from "../../src/storage/tahoe/webapi.ts";
import { WebapiTree } from "../../src/storage/tahoe/webapi-tree.ts";
import { StorageUnavailable } from "../../src/storage/tree.ts";
import type { Answer, FakeGateway } from "./fake-gateway.ts";
import { fakeGateway } from "./fake-gateway.ts";

export const secret = "secretsecretsecretsecret22";
export const cap = parseReadCap(`URI:DIR2-RO:${secret}:${"a".repeat(52)}`);
export const fileOf = (sizeBytes: number): { path: typeof rootPath; content: ContentId } => ({
  path: parseTreePath("pool/x.deb"),
  content: new ContentId(`URI:CHK:${secret}:${"a".repeat(52)}:1:1:${sizeBytes}`),
});
export const { signal } = new AbortController();
export const quick = { ...defaultWebapiLimits, firstByteTimeoutMs: 600, listingTimeoutMs: 600, stallTimeoutMs: 600 };

export const ending: FakeGateway[] = [];
afterEach(async () => {
  for (const gateway of ending.splice(0)) await gateway.end();
});
export async function against(answer: Answer): Promise<{ gateway: FakeGateway; tree: WebapiTree }> {
  const gateway = await fakeGateway(answer);
  ending.push(gateway);
  return { gateway, tree: new WebapiTree(new Webapi(gateway.url, quick), cap) };
}

export async function failure(promise: Promise<unknown>): Promise<StorageUnavailable> {
  const thrown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(thrown instanceof StorageUnavailable)) throw new Error(`not unavailable: ${inspect(thrown)}`);
  expect(inspect(thrown, { depth: 9, showHidden: true })).not.toContain(secret);
  expect(thrown.cause).toBeUndefined();
  return thrown;
}
