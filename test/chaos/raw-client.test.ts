// The client of the chaos runs finds what must never happen: it is shown each of these faults here.
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { openpgpSigner } from "../../src/signing/openpgp-signer.ts";
import { aDeb } from "../support/debs.ts";
import { ServedFolder } from "../support/served-folder.ts";
import { aSigningKey } from "../support/signing-key.ts";
import { Acknowledged } from "./builders.ts";
import { Findings } from "./findings.ts";
import { Chance } from "./random.ts";
import { RawClient } from "./raw-client.ts";

const amd64 = "dists/sid/main/binary-amd64";

let served: ServedFolder;
/** Changes the response for a path; undefined: 404. */
let change: (path: string, bytes: Buffer) => Buffer | undefined;
let findings: Findings;
let acknowledged: Acknowledged;
let client: RawClient;

beforeEach(async () => {
  served = new ServedFolder({
    signer: await openpgpSigner([{ file: "it", armored: await aSigningKey() }], { now: systemClock }),
  });
  served.put(`${amd64}/hello.deb`, await aDeb({ package: "hello", architecture: "amd64" }));
  await served.ping();
  change = (_, bytes) => bytes;
  const respond = async (path: string): Promise<Buffer | undefined> => {
    const bytes = path === "key.asc" ? Buffer.from(served.repository.key.armored) : await served.bytes(path);
    return bytes === undefined ? undefined : change(path, Buffer.from(bytes));
  };
  const server = createServer((request, response) => {
    respond((request.url ?? "").slice(1)).then(
      (bytes) => (bytes === undefined ? response.writeHead(404).end() : response.end(bytes)),
      () => response.writeHead(503).end(),
    );
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const work = mkdtempSync(join(tmpdir(), "raw-client-"));
  onTestFinished(() => {
    server.close();
    rmSync(work, { recursive: true });
  });
  findings = new Findings();
  acknowledged = new Acknowledged();
  const address = server.address();
  const url = `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
  client = new RawClient({
    url,
    work,
    acknowledged,
    findings,
    chance: new Chance(1),
    generation: () => 0,
    isCalm: () => true,
  });
  await client.learnKey();
});

/** The invariants that a round finds violated. */
async function violated(): Promise<readonly string[]> {
  await client.round();
  return findings.violations.map(({ invariant }) => invariant);
}

const flipped = (bytes: Buffer): Buffer => {
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
  return bytes;
};

test("a sound repository violates nothing", async () => {
  acknowledged.present.add("hello");
  acknowledged.absent.add("world");
  expect(await violated()).toEqual([]);
  expect(await violated()).toEqual([]);
  expect(Object.fromEntries(findings.counts)).toMatchObject({
    "publications verified": 2,
    "packages verified": 2,
    "InRelease verified by gpgv": 1,
  });
});

test("a changed InRelease is found", async () => {
  change = (path, bytes) => (path.endsWith("/InRelease") ? flipped(bytes) : bytes);
  expect(await violated()).toContain("every InRelease verifies");
});

test("an index with other bytes, and one that is missing, are found", async () => {
  change = (path, bytes) => (path.includes("/by-hash/") ? flipped(bytes) : bytes);
  expect(await violated()).toEqual(["every index has its hash"]);
  change = (path, bytes) => (path.includes("/by-hash/") ? undefined : bytes);
  expect(await violated()).toContain("all indices that InRelease names are served");
});

test("a package with other bytes, and one that is missing, are found", async () => {
  change = (path, bytes) => (path.startsWith("pool/") ? flipped(bytes) : bytes);
  expect(await violated()).toEqual(["every package has its hash"]);
  change = (path, bytes) => (path.startsWith("pool/") ? undefined : bytes);
  expect(await violated()).toContain("every package is served");
});

test("a Date that goes back is found", async () => {
  const before = await served.text("dists/sid/InRelease");
  served.put(`${amd64}/world.deb`, await aDeb({ package: "world", architecture: "amd64" }), 1_700_000_060);
  await served.ping();
  expect(await violated()).toEqual([]);
  change = (path, bytes) => (path.endsWith("/InRelease") ? Buffer.from(before) : bytes);
  expect(await violated()).toContain("Date never goes backwards");
});

test("an acknowledged package that is missing, and a removed one that is back, are found", async () => {
  acknowledged.present.add("world");
  acknowledged.absent.add("hello");
  expect(await violated()).toEqual(["no acknowledged ping is lost", "no acknowledged ping is lost"]);
});

test("nothing is demanded of packages that are being removed, or whose publications were lost", async () => {
  acknowledged.present.add("world");
  acknowledged.forget("world");
  acknowledged.present.add("gone");
  acknowledged.doubt();
  expect(await violated()).toEqual([]);
  acknowledged.confirm();
  expect(await violated()).toEqual(["no acknowledged ping is lost"]);
});
