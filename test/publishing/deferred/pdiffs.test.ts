// Pdiffs of a served folder: each leads from an earlier index to the current one, as apt's own rred shows.
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, expect, test } from "vitest";
import { withResolvers } from "../../../src/base/with-resolvers.ts";
import { parseStanza } from "../../../src/debian/deb822.ts";
import { fieldOf } from "../../../src/debian/stanza.ts";
import { aDeb, aDsc, runTool } from "../../support/debs.ts";
import { ServedFolder, sha256 } from "../../support/served-folder.ts";

const main = "dists/sid/main";
const packages = `${main}/binary-amd64/Packages`;
const limits = { maxStanzaBytes: 1_000_000, maxFields: 100, maxFieldNameBytes: 100 };

const directory = mkdtempSync(join(tmpdir(), "pdiffs-"));
afterAll(() => rmSync(directory, { recursive: true }));

function patched(old: Uint8Array, script: Uint8Array): Buffer {
  writeFileSync(join(directory, "script"), script);
  return runTool("/usr/lib/apt/methods/rred", ["-f", join(directory, "script")], old, "apt");
}

/** A folder with pdiffs, and a promise for those of the latest publication. */
function patchedFolder({ now = Date.now, contents = false } = {}): {
  readonly served: ServedFolder;
  readonly made: () => Promise<void>;
} {
  let [rounds, seen] = [0, 0];
  let another = withResolvers<void>();
  const deferredGenerated = (_suite: unknown, generator: string): void => {
    if (generator !== "pdiffs") return;
    rounds += 1;
    another.resolve();
    another = withResolvers<void>();
  };
  const served = new ServedFolder({ pdiffs: true, observer: { deferredGenerated }, now, contents });
  const made = async (): Promise<void> => {
    if (rounds === seen) await another.promise;
    seen = rounds;
  };
  return { served, made };
}

/** Text that hardly compresses, so that a few packages make an index large enough for patches. */
const noise = (name: string): string =>
  `it\n ${Array.from({ length: 20 }, (_, n) => createHash("sha256").update(`${name}${n}`).digest("base64")).join("\n ")}`;

let linked = 1_700_000_000;
async function put(served: ServedFolder, name: string, version = "1"): Promise<string> {
  const path = `${main}/binary-amd64/${name}.deb`;
  const fields = { Description: noise(name) };
  linked += 1;
  served.put(path, await aDeb({ package: name, version, architecture: "amd64", fields }), linked);
  return path;
}

const sha1 = (bytes: Uint8Array): string => createHash("sha1").update(bytes).digest("hex");

interface Listed {
  readonly sha256: string;
  readonly sizeBytes: number;
  readonly name: string;
}

async function listOf(served: ServedFolder, index = packages) {
  const stanza = parseStanza(Buffer.from(await served.text(`${index}.diff/Index`)), limits);
  const list = (field: string): readonly Listed[] =>
    (fieldOf(stanza, field) ?? "")
      .split("\n ")
      .slice(1)
      .map((line) => line.split(" "))
      .map(([digest = "", size, name = ""]) => ({ sha256: digest, sizeBytes: Number(size), name }));
  return {
    current: fieldOf(stanza, "SHA256-Current"),
    precedence: fieldOf(stanza, "X-Patch-Precedence"),
    history: list("SHA256-History"),
    patches: list("SHA256-Patches"),
    downloads: list("SHA256-Download"),
  };
}

/** Checks that every listed patch is served and transforms an old index into the current one. @returns their number */
async function expectTrue(served: ServedFolder, olds: readonly Buffer[], index = packages): Promise<number> {
  const present = (await served.bytes(index))!;
  const { current, precedence, history, patches, downloads } = await listOf(served, index);
  expect(precedence).toBe("merged");
  expect(current).toBe(`${sha256(present)} ${present.length}`);
  const list = await served.text(`${index}.diff/Index`);
  if (!index.includes("Contents")) expect(list).toContain(`SHA1-Current: ${sha1(present)} ${present.length}\n`);
  for (const [n, from] of history.entries()) {
    const old = olds.find((bytes) => sha256(bytes) === from.sha256);
    const gz = (await served.bytes(`${index}.diff/${from.name}.gz`))!;
    expect(downloads[n]).toEqual({ sha256: sha256(gz), sizeBytes: gz.length, name: `${from.name}.gz` });
    const script = gunzipSync(gz);
    expect(patches[n]).toEqual({ sha256: sha256(script), sizeBytes: script.length, name: from.name });
    if (old === undefined) continue;
    expect(from.sizeBytes).toBe(old.length);
    // debmirror checks only SHA1.
    const sha1s = [old, script].map((bytes) => ` ${sha1(bytes)} ${bytes.length} ${from.name}\n`);
    if (!index.includes("Contents")) for (const line of sha1s) expect(list).toContain(line);
    expect(patched(old, script)).toEqual(present);
  }
  const release = await served.text("dists/sid/Release");
  const listing = (await served.bytes(`${index}.diff/Index`))!;
  const path = index.replace("dists/sid/", "");
  expect(release).toContain(` ${sha256(listing)} ${listing.length} ${path}.diff/Index\n`);
  expect(release).toContain(` ${sha256(present)} ${present.length} ${path}\n`);
  expect(await served.bytes(`${index}.diff/by-hash/SHA256/${sha256(listing)}`)).toEqual(listing);
  return history.length;
}

test("one patch leads from each earlier Packages to the current one, and Release lists the index of patches", async () => {
  const { served, made } = patchedFolder();
  const paths: string[] = [];
  for (let n = 0; n < 40; n++) paths.push(await put(served, `p${n}`));
  await served.ping();
  await made();
  expect(await served.bytes(`${packages}.diff/Index`)).toBeUndefined();
  const olds = [(await served.bytes(packages))!];
  const changes: readonly (() => Promise<unknown>)[] = [
    () => put(served, "new"),
    () => put(served, "p7", "2"),
    async () => served.remove(paths[20]!),
  ];
  for (const [n, change] of changes.entries()) {
    await change();
    await served.ping();
    await made();
    expect(await expectTrue(served, olds)).toBe(n + 1);
    expect((await listOf(served)).history.map((old) => old.sha256)).toEqual(olds.map(sha256));
    olds.push((await served.bytes(packages))!);
  }
});

test("patches are never listed beside a newer index, and stay readable under their names", async () => {
  const { served, made } = patchedFolder();
  for (let n = 0; n < 40; n++) await put(served, `p${n}`);
  await served.ping();
  await made();
  await served.ping(await put(served, "one"));
  await made();
  const { history } = await listOf(served);
  const patch = `${packages}.diff/${history[0]!.name}.gz`;
  const bytes = await served.bytes(patch);
  await served.ping(await put(served, "two"));
  const release = await served.text("dists/sid/Release");
  if (release.includes(".diff/Index")) await expectTrue(served, []);
  await made();
  expect((await listOf(served)).history.map(({ name }) => name)).not.toContain(history[0]!.name);
  expect(await served.bytes(patch)).toEqual(bytes);
  await served.restart();
  expect(await served.bytes(patch)).toEqual(bytes);
  expect((await listOf(served)).history).toHaveLength(2);
});

test("patches for old states are omitted if all together would be longer than the index", async () => {
  const { served, made } = patchedFolder();
  const olds: Buffer[] = [];
  for (const count of [20, 10, 40, 1]) {
    for (let n = 0; n < count; n++) await put(served, `p${olds.length}-${n}`);
    await served.ping();
    await made();
    olds.push((await served.bytes(packages))!);
  }
  expect(await expectTrue(served, olds)).toBe(2);
  const { history, downloads } = await listOf(served);
  expect(history.map((old) => old.sha256)).toEqual(olds.slice(1, 3).map(sha256));
  const indexBytes = (await served.bytes(`${packages}.xz`))!.length;
  expect(downloads.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)).toBeLessThan(indexBytes);
});

test("patches are deleted an hour after their publication, except those of the current one", async () => {
  let nowMs = Date.now();
  const { served, made } = patchedFolder({ now: () => nowMs });
  for (let n = 0; n < 40; n++) await put(served, `p${n}`);
  await served.ping();
  await made();
  const patchesNow: string[] = [];
  for (const name of ["one", "two"]) {
    await served.ping(await put(served, name));
    await made();
    patchesNow.push(`${packages}.diff/${(await listOf(served)).history[0]!.name}.gz`);
  }
  const [old = "", present = ""] = patchesNow;
  expect(await served.bytes(old)).toBeDefined();
  nowMs += 2 * 3600 * 1000;
  await served.ping();
  expect(await served.bytes(old)).toBeUndefined();
  expect(await served.bytes(present)).toBeDefined();
  expect(await expectTrue(served, [])).toBe(2);
});

test("Sources have patches too", async () => {
  const { served, made } = patchedFolder();
  const source = async (name: string): Promise<void> => {
    const { files } = aDsc({ source: name, fields: { "X-Noise": noise(name) } });
    for (const [file, bytes] of files) served.put(`${main}/source/${file}`, bytes, 1_700_000_000);
  };
  for (let n = 0; n < 20; n++) await source(`s${n}`);
  await served.ping();
  await made();
  const old = (await served.bytes(`${main}/source/Sources`))!;
  await source("a-new-one");
  await served.ping();
  await made();
  expect(await expectTrue(served, [old], `${main}/source/Sources`)).toBe(1);
});

test("Contents have patches by line, which stay while packages arrive that do not change Contents", async () => {
  const { served, made } = patchedFolder({ contents: true });
  const contents = `${main}/Contents-amd64`;
  const withFiles = async (name: string): Promise<string> => {
    const files = Object.fromEntries(
      noise(name)
        .match(/[A-Za-z0-9]{9}/g)!
        .map((file) => [`./usr/share/${file}`, ""]),
    );
    served.put(`${main}/binary-amd64/${name}.deb`, await aDeb({ package: name, architecture: "amd64", files }));
    return `${main}/binary-amd64/${name}.deb`;
  };
  for (let n = 0; n < 40; n++) await withFiles(`p${n}`);
  await served.ping();
  await made();
  const old = (await served.bytes(contents))!;
  await served.ping(await withFiles("new"));
  await made();
  expect(await expectTrue(served, [old], contents)).toBe(1);
  const { patches } = await listOf(served, contents);
  expect(patches[0]!.sizeBytes).toBeLessThan(old.length / 10);
  served.put(`${main}/binary-amd64/empty.deb`, await aDeb({ package: "empty", architecture: "amd64", files: {} }));
  await served.ping();
  expect(await expectTrue(served, [old], contents)).toBe(1);
  await made();
  expect(await expectTrue(served, [old], contents)).toBe(1);
});

test("a suite without pdiffs in its configuration has none", async () => {
  const served = new ServedFolder();
  for (let n = 0; n < 40; n++) await put(served, `p${n}`);
  await served.ping();
  await served.ping(await put(served, "new"));
  await served.deferredGenerated();
  expect(await served.text("dists/sid/Release")).not.toContain(".diff");
});
