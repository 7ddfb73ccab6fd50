// A static repository of stitched indices, read by real apt: in each form, and with each kind of sabotage.
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { yieldToEventLoop } from "../../src/base/yield-to-event-loop.ts";
import { inspectContent } from "../../src/catalog/inspection/inspect.ts";
import { defaultInspectLimits } from "../../src/catalog/inspection/inspect-limits.ts";
import type { AssembledIndex, IndexForm, SegmentSizes } from "../../src/indices/assemble.ts";
import { assemble, indexForms } from "../../src/indices/assemble.ts";
import { createCompressor } from "../../src/indices/compression/compress.ts";
import { renderPackage } from "../../src/indices/packages.ts";
import type { ReleaseFile } from "../../src/indices/release.ts";
import { renderRelease } from "../../src/indices/release.ts";
import { renderSource } from "../../src/indices/sources.ts";
import { AptRoot } from "../support/apt.ts";
import { aDeb, aDsc, inChunks } from "../support/debs.ts";
import { aSigner } from "../support/signing-key.ts";

const signal = new AbortController().signal;
const algorithms = ["md5", "sha256"] as const;
const packageNames = Array.from({ length: 40 }, (_, n) => `pack-${String(n).padStart(2, "0")}`);
const stanzasPerSegment = 7;

/** The server's responses, by path. */
const files = new Map<string, Uint8Array>();
const server = createServer((request, response) => {
  const path = decodeURIComponent(request.url ?? "/").slice(1);
  const body = files.get(path);
  response.writeHead(body === undefined ? 404 : 200, { "Content-Type": "application/octet-stream" });
  response.end(body ?? "there is no such file\n");
});
const compressor = createCompressor({ threads: 2 });
let url = "";
let publicKey = "";

const inspectedAs = async (kind: "binary" | "source", bytes: Uint8Array) =>
  await inspectContent(kind, inChunks(bytes), { limits: defaultInspectLimits, algorithms });

const digestsOf = (bytes: Uint8Array) => ({
  md5: createHash("md5").update(bytes).digest("hex"),
  sha256: createHash("sha256").update(bytes).digest("hex"),
});

/** Cuts the stanzas into segments and stores all forms of their index for the server. */
async function publish(path: string, stanzas: readonly string[]): Promise<readonly ReleaseFile[]> {
  const stored = new Map<string, Readonly<Record<IndexForm, Uint8Array>>>();
  const segments: SegmentSizes[] = [];
  for (let at = 0; at < stanzas.length; at += stanzasPerSegment) {
    const plain = Buffer.from(stanzas.slice(at, at + stanzasPerSegment).join(""));
    const { gz, xz, lines } = await compressor.compress(plain, signal);
    stored.set(`segment ${at}`, { plain, gz, xz: xz.bytes });
    segments.push({ ...xz, id: `segment ${at}`, gzBytes: gz.length, lines });
  }
  const read = (id: string, form: IndexForm): Uint8Array => stored.get(id)![form];
  const index: AssembledIndex = await assemble(segments, read, ["sha256"], undefined, yieldToEventLoop(signal));
  return Object.entries(indexForms).map(([form, suffix]) => {
    const { parts, sizeBytes, digests } = index.forms[form as IndexForm];
    const bytes = parts.map((part) => (part.kind === "literal" ? part.bytes : read(part.id, form as IndexForm)));
    files.set(`dists/sid/${path}${suffix}`, Buffer.concat(bytes));
    return { path: `${path}${suffix}`, sizeBytes, digests };
  });
}

beforeAll(async () => {
  const signer = await aSigner();
  publicKey = signer.publicKey;
  const packages = await Promise.all(
    packageNames.map(async (name, n) => {
      const deb = await aDeb({ package: name, version: `1.${n}-1`, architecture: n % 2 === 0 ? "amd64" : "all" });
      const inspection = await inspectedAs("binary", deb);
      if (inspection.kind !== "binary") throw new Error(`${name} is ${inspection.kind}`);
      const path = `pool/SHA256/${digestsOf(deb).sha256}/${name}_1.${n}-1.deb`;
      files.set(path, deb);
      return renderPackage(inspection, path, algorithms);
    }),
  );
  const { dsc, files: sourceFiles } = aDsc({ source: "pack", version: "2.0-1" });
  const inspection = await inspectedAs("source", sourceFiles.get(dsc)!);
  if (inspection.kind !== "source") throw new Error(`the source is ${inspection.kind}`);
  const parts = [...sourceFiles].map(([name, bytes]) => ({ name, sizeBytes: bytes.length, digests: digestsOf(bytes) }));
  for (const [name, bytes] of sourceFiles) files.set(`pool/source/${name}`, bytes);
  const listed = [
    ...(await publish("main/binary-amd64/Packages", packages.toReversed())),
    ...(await publish("main/source/Sources", [renderSource(inspection, "pool/source", parts, algorithms)])),
    ...(await publish("empty/binary-amd64/Packages", [])),
    ...(await publish("empty/source/Sources", [])),
  ];
  const dateSeconds = Math.floor(Date.now() / 1000) - 5;
  const release = renderRelease({
    origin: "Tests",
    label: "Tests",
    suite: "sid",
    codename: "sid",
    dateSeconds,
    architectures: ["amd64"],
    components: ["main", "empty"],
    algorithms: ["sha256"],
    files: listed,
  });
  const signed = await signer.sign(release, dateSeconds);
  files.set("dists/sid/InRelease", Buffer.from(signed.inRelease));
  files.set("dists/sid/Release", Buffer.from(release));
  files.set("dists/sid/Release.gpg", Buffer.from(signed.releaseGpg));
  for (const { path } of listed) {
    const bytes = files.get(`dists/sid/${path}`)!;
    const directory = path.slice(0, path.lastIndexOf("/"));
    files.set(`dists/sid/${directory}/by-hash/SHA256/${digestsOf(bytes).sha256}`, bytes);
  }
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
});

afterAll(async () => {
  server.closeAllConnections();
  await Promise.all([new Promise((closed) => server.close(closed)), compressor.close()]);
});

const roots: AptRoot[] = [];
afterAll(() => {
  for (const root of roots) root.close();
});
function anAptRoot(options: { readonly [name: string]: string } = {}): AptRoot {
  const root = new AptRoot({ source: { url, suite: "sid", components: ["main", "empty"], publicKey }, options });
  roots.push(root);
  return root;
}

/** Corrupts the server's files whose names match, while some work runs. */
async function sabotaged<T>(names: RegExp, corrupt: (good: Buffer) => Uint8Array, work: () => Promise<T>): Promise<T> {
  const good = [...files].filter(([path]) => names.test(path));
  if (good.length === 0) throw new Error(`nothing matches ${names.source}`);
  for (const [path, bytes] of good) files.set(path, corrupt(Buffer.from(bytes)));
  try {
    return await work();
  } finally {
    for (const [path, bytes] of good) files.set(path, bytes);
  }
}

const withOneBitChanged = (bytes: Buffer): Buffer => {
  bytes[bytes.length >> 1]! ^= 0x01;
  return bytes;
};

for (const form of ["xz", "gz"] as const) {
  const preferring = { "Acquire::CompressionTypes::Order": form, "Acquire::By-Hash": "no" };

  test(`apt reads every package of an index that is joined from segments as .${form}`, async () => {
    const root = anAptRoot(preferring);
    const output = await root.update();
    expect(output).toMatch(/^Get:\d+ \S+ sid InRelease/m);
    expect(await root.packageNames()).toEqual(packageNames);
    expect(await root.candidate("pack-07")).toBe("1.7-1");
    expect(await root.update()).not.toMatch(/^Get:\d+ \S+ sid\/main/m);
  });

  test(`apt refuses the .${form} when one bit of it differs`, async () => {
    const root = anAptRoot(preferring);
    const output = await sabotaged(new RegExp(`main/binary-amd64/Packages\\.${form}$`), withOneBitChanged, () =>
      root.failToUpdate(),
    );
    expect(output).toMatch(/Hash Sum mismatch/i);
    expect(await root.packageNames()).toEqual([]);
  });
}

test("apt finds the indices by their hashes", async () => {
  const plainNames = /(Packages|Sources)(\.xz|\.gz)?$/;
  const root = anAptRoot();
  await sabotaged(plainNames, withOneBitChanged, () => root.update());
  expect(await root.packageNames()).toEqual(packageNames);
});

test("apt rejects an index with other bytes under its hash", async () => {
  const root = anAptRoot();
  const output = await sabotaged(/main\/binary-amd64\/by-hash/, withOneBitChanged, () => root.failToUpdate());
  expect(output).toMatch(/Hash Sum mismatch/i);
});

test("apt rejects an InRelease with one changed byte", async () => {
  const root = anAptRoot();
  const changed = (good: Buffer): Buffer => Buffer.from(good.toString().replace("Label: Tests", "Label: Tesss"));
  const output = await sabotaged(/InRelease$/, changed, () => root.failToUpdate());
  expect(output).toMatch(/BADSIG|invalid|not signed/i);
});

test("apt uses Release and Release.gpg if there is no InRelease, and rejects a changed Release", async () => {
  const inRelease = files.get("dists/sid/InRelease")!;
  files.delete("dists/sid/InRelease");
  try {
    const root = anAptRoot();
    await root.update();
    expect(await root.packageNames()).toEqual(packageNames);
    const changed = (good: Buffer): Buffer => Buffer.from(good.toString().replace("Label: Tests", "Label: Tesss"));
    const output = await sabotaged(/sid\/Release$/, changed, () => anAptRoot().failToUpdate());
    expect(output).toMatch(/BADSIG|invalid|not signed/i);
  } finally {
    files.set("dists/sid/InRelease", inRelease);
  }
});

test("apt downloads a package under the name of its content, and rejects other bytes there", async () => {
  const root = anAptRoot();
  await root.update();
  const [path, bytes] = [...files].find(([name]) => name.endsWith("/pack-06_1.6-1.deb"))!;
  expect((await root.download("pack-06")).equals(Buffer.from(bytes))).toBe(true);
  expect(await root.installDownloadOnly("pack-03")).toEqual(["pack-03_1.3-1_all.deb"]);
  expect(path).toContain(digestsOf(bytes).sha256);
  const other = anAptRoot();
  await other.update();
  await sabotaged(/pack-06_1\.6-1\.deb$/, withOneBitChanged, async () => {
    await expect(other.download("pack-06")).rejects.toThrow(/Hash Sum mismatch/i);
  });
});

test("apt downloads a source package with all of its files", async () => {
  const root = anAptRoot();
  await root.update();
  const fetched = await root.source("pack");
  expect([...fetched.keys()].toSorted()).toEqual([
    "pack_2.0-1.debian.tar.xz",
    "pack_2.0-1.dsc",
    "pack_2.0.orig.tar.gz",
  ]);
  for (const [name, bytes] of fetched)
    expect(bytes.equals(Buffer.from(files.get(`pool/source/${name}`)!)), name).toBe(true);
});
