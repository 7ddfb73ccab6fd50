// Indices in the tree, with several servers: only the publisher writes them, and the next publisher goes on.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, inject, test } from "vitest";
import { parseTreePath } from "../../src/base/names.ts";
import { formatBundle } from "../../src/client/bundle.ts";
import { Webapi } from "../../src/storage/tahoe/webapi.ts";
import { WebapiWriter } from "../../src/storage/tahoe/webapi-writer.ts";
import { aDeb } from "../support/debs.ts";
import type { Replica } from "../support/fleet.ts";
import { Fleet } from "../support/fleet.ts";

const webapiUrl = inject("webapiUrl");
const { signal } = new AbortController();
const token = "a-token-of-two-replicas";
const amd64 = "dists/sid/main/binary-amd64";
const patience = { timeout: 40_000, interval: 200 };

test("only the publisher writes indices into the tree, and after it was killed the next one, without an error", {
  timeout: 150_000,
}, async () => {
  const work = mkdtempSync(join(tmpdir(), "tahoe-apt-cluster-"));
  const writer = new WebapiWriter(new Webapi(webapiUrl));
  const root = await writer.createDirectory(signal);
  const put = async (name: string): Promise<void> => {
    const bytes = await aDeb({ package: name, architecture: "amd64" });
    await writer.put(root, parseTreePath(`${amd64}/${name}.deb`), bytes, signal);
  };
  await put("hello");
  const readCap = (await writer.readCapOf(root, signal)).reveal();
  const path = parseTreePath("dists/sid");
  const directories = [{ path, cap: await writer.makeDirectory(root, path, signal) }];
  const bundle = formatBundle({ name: "indices", gateways: [webapiUrl], directories, ping: undefined });
  const bundleFile = join(work, "indices.bundle");
  writeFileSync(bundleFile, bundle.reveal(), { mode: 0o600 });
  const fleet = await Fleet.start({
    work,
    tree: { webapiUrl, readCap },
    token,
    names: ["one", "two"],
    tables: `publish_bundle_file = "${bundleFile}"\n`,
  });
  const inTree = async (name: string): Promise<string> =>
    await (await fetch(`${webapiUrl}/uri/${encodeURIComponent(readCap)}/dists/sid/${name}`)).text();
  const ping = async ({ url }: Replica): Promise<number> => {
    const headers = { authorization: `Bearer ${token}` };
    return (await fetch(`${url}/-/ping/debian?wait=20`, { method: "POST", headers })).status;
  };
  const writes = ({ output }: Replica): number => output.match(/"msg":"published into the tree"/g)?.length ?? 0;
  try {
    await expect.poll(() => inTree("main/binary-amd64/Packages"), patience).toContain("Package: hello\n");
    await expect.poll(() => fleet.replicas.map(writes).toSorted((a, b) => a - b), patience).toEqual([0, 1]);
    const [publisher, other] = fleet.replicas.toSorted((a, b) => writes(b) - writes(a));
    if (publisher === undefined || other === undefined) throw new Error("two replicas are needed");
    const date = /^Date: .*$/m.exec(await inTree("InRelease"))?.[0] ?? "";
    await publisher.kill();
    await put("later");
    await expect.poll(() => ping(other), patience).toBe(200);
    await expect.poll(() => inTree("main/binary-amd64/Packages"), patience).toContain("Package: later\n");
    await publisher.start();
    await publisher.ready();
    await put("last");
    expect(await ping(publisher)).toBe(200);
    await expect.poll(() => inTree("main/binary-amd64/Packages"), patience).toContain("Package: last\n");
    const last = /^Date: .*$/m.exec(await inTree("InRelease"))?.[0] ?? "";
    expect(Date.parse(last.slice(6))).toBeGreaterThan(Date.parse(date.slice(6)));
    for (const { output } of fleet.replicas) expect(output).not.toMatch(/could not be published|"level":"?error/);
  } finally {
    await fleet.end();
    rmSync(work, { recursive: true });
  }
});
