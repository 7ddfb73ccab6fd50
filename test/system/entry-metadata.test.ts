// Packages with metadata on a real grid: indexed without a read, installed by apt, and false claims found by the scrub.
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fetch from "node-fetch";
import { afterAll, beforeAll, expect, inject, onTestFinished, test } from "vitest";
import { parseTreePath } from "../../src/base/names.ts";
import { inspectContent } from "../../src/catalog/inspection/inspect.ts";
import { defaultInspectLimits as limits } from "../../src/catalog/inspection/inspect-limits.ts";
import { entryMetadataOf } from "../../src/catalog/metadata/entry-metadata.ts";
import type { WriteCap } from "../../src/storage/tahoe/caps.ts";
import { Webapi } from "../../src/storage/tahoe/webapi.ts";
import type { Link } from "../../src/storage/tahoe/webapi-writer.ts";
import { WebapiWriter } from "../../src/storage/tahoe/webapi-writer.ts";
import { AptRoot } from "../support/apt.ts";
import { aDeb, inChunks } from "../support/debs.ts";
import { ServerUnderTest } from "../support/server.ts";

const { signal } = new AbortController();
const token = "a-token-for-this-test-alone";
const directory = "dists/sid/main/binary-amd64/builder";
const work = mkdtempSync(join(tmpdir(), "tahoe-apt-entry-metadata-"));
let writer: WebapiWriter;
let builder: WriteCap;
let server: ServerUnderTest;

async function start(scrubSeconds: number): Promise<void> {
  writeFileSync(
    join(work, "c.toml"),
    `state = "state"\nscrub_seconds = ${scrubSeconds}\n[[repository]]\nname = "debian"\nreadcap_file = "readcap"\n` +
      `webapi = "${inject("webapiUrl")}"\nping_token_file = "token"\n`,
  );
  server = await ServerUnderTest.start({ flags: ["--config", join(work, "c.toml")] });
  await server.ready();
}

beforeAll(async () => {
  writer = new WebapiWriter(new Webapi(inject("webapiUrl")));
  const root = await writer.createDirectory(signal);
  builder = await writer.makeDirectory(root, parseTreePath(directory), signal);
  writeFileSync(join(work, "readcap"), (await writer.readCapOf(root, signal)).reveal(), { mode: 0o600 });
  writeFileSync(join(work, "token"), token, { mode: 0o600 });
  await start(0);
});

afterAll(async () => {
  await server?.end();
  rmSync(work, { recursive: true, force: true });
});

const hello = (name: string) =>
  aDeb({ package: name, architecture: "amd64", files: { [`./usr/bin/${name}`]: name, "./usr/share/all": "" } });

/** The metadata of an honest uploader, with the package's file list in a separate object. */
async function truthOf(bytes: Uint8Array): Promise<{ readonly control?: string }> {
  const options = { limits, algorithms: ["md5", "sha256"], fileLists: true } as const;
  const inspection = await inspectContent("binary", inChunks(bytes), options);
  if (inspection.kind !== "binary" || inspection.fileList === undefined) throw new Error("no package");
  const contents = await writer.upload(inspection.fileList, signal);
  return entryMetadataOf({ ...inspection, contents: contents.reveal() });
}

async function linkOf(bytes: Uint8Array, metadata: unknown): Promise<Link> {
  return { content: await writer.upload(bytes, signal), metadata };
}

async function ping(): Promise<{ readonly rejected: readonly { readonly path: string; readonly code: string }[] }> {
  const reply = await fetch(`${server.url}/-/ping/debian/${directory}?wait=60`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}` },
  });
  expect(reply.status).toBe(200);
  return (await reply.json()) as Awaited<ReturnType<typeof ping>>;
}

async function metric(series: string): Promise<number> {
  const scrape = await (await fetch(`${server.url}/metrics`)).text();
  const line = scrape.split("\n").find((each) => each.startsWith(`tahoe_apt_${series}`));
  return Number(line?.split(" ").at(-1) ?? 0);
}

async function apt(): Promise<AptRoot> {
  const publicKey = await (await fetch(`${server.url}/debian/key.asc`)).text();
  const machine = new AptRoot({ source: { url: `${server.url}/debian`, suite: "sid", publicKey } });
  onTestFinished(() => machine.close());
  await machine.update();
  return machine;
}

test("fifty packages that are linked in one write are indexed with their file lists, none is read, and apt downloads one", async () => {
  const debs = new Map<string, Buffer>();
  for (let n = 0; n < 50; n++) debs.set(`p${n}_1.0-1_amd64.deb`, await hello(`p${n}`));
  const links = new Map<string, Link>();
  for (const [name, bytes] of debs) links.set(name, await linkOf(bytes, await truthOf(bytes)));
  await writer.link(builder, links, signal);
  expect((await ping()).rejected).toEqual([]);

  expect(await metric('inspections_total{repository="debian",source="entry"}')).toBe(50);
  expect(await metric('inspections_total{repository="debian",source="read"}')).toBe(0);

  const machine = await apt();
  expect(await machine.packageNames()).toHaveLength(50);
  const wanted = debs.get("p17_1.0-1_amd64.deb") ?? Buffer.alloc(0);
  const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
  const contents = async () => (await fetch(`${server.url}/debian/dists/sid/main/Contents-amd64`)).text();
  await expect.poll(contents, { timeout: 60_000 }).toMatch(/^usr\/bin\/p17 +p17$/m);
  expect((await contents()).split("\n")).toHaveLength(52);
  expect(await metric('inspections_total{repository="debian",source="read"}')).toBe(0);

  expect(sha256(await machine.download("p17"))).toBe(sha256(wanted));
  await expect.poll(() => metric('audits_total{repository="debian",verdict="confirmed"}')).toBe(1);
});

test("false claims of each kind are found without any download, and never affect another package", async () => {
  const links = new Map<string, Link>();
  const say = async (name: string, lie: (control: string) => object) => {
    const bytes = await hello(name);
    const truth = await truthOf(bytes);
    links.set(`${name}_1.0-1_amd64.deb`, await linkOf(bytes, { ...truth, ...lie(truth.control ?? "") }));
  };
  const victim = await truthOf(await hello("p3"));
  await say("honest", () => ({}));
  // Ignored: the bytes are read.
  await say("size", () => ({ sizeBytes: 1 }));
  await say("second-stanza", (control) => ({ control: `${control}\n${control.replace("second", "forged")}` }));
  await say("carriage-return", (control) => ({ control: `${control}X: a\rPackage: forged\n` }));
  await say("huge", (control) => ({ control: `${control}X: ${"x".repeat(limits.maxStanzaBytes)}\n` }));
  await say("types", () => ({ sha256: 5, control: [{}] }));
  await say("deep", () => ({ contents: JSON.parse(`${"[".repeat(100)}${"]".repeat(100)}`) as unknown }));
  // Accepted, until they are compared with the bytes.
  await say("digest", () => ({ sha256: "00".repeat(32) }));
  await say("control", (control) => ({ control: `${control}Depends: evil\n` }));
  await say("version", (control) => ({ control: control.replace("1.0-1", "99") }));
  // Found at once: two contents cannot have one digest.
  const thief = await hello("thief");
  links.set("thief_1.0-1_amd64.deb", await linkOf(thief, { ...victim, sizeBytes: thief.length }));
  await writer.link(builder, links, signal);
  const { rejected } = await ping();
  expect(rejected.map(({ path, code }) => [path.split("/").at(-1), code])).toEqual([
    ["thief_1.0-1_amd64.deb", "mismatch"],
  ]);
  const names = Array.from({ length: 50 }, (_, n) => `p${n}`);
  const read = ["carriage-return", "deep", "huge", "second-stanza", "size", "types"];
  const before = await (await apt()).packageNames();
  expect(before).toEqual([...names, ...read, "honest", "control", "digest", "version"].toSorted());

  await server.end();
  await start(1);
  const found = async () => (await ping()).rejected.map(({ path }) => path.split("/").at(-1)?.split("_")[0]);
  await expect.poll(found, { timeout: 60_000, interval: 500 }).toEqual(["control", "digest", "thief", "version"]);
  expect(await metric('entry_metadata_refused_total{repository="debian",reason="lie"}')).toBeGreaterThanOrEqual(3);
  const after = await apt();
  expect(await after.packageNames()).toEqual([...names, ...read, "honest"].toSorted());
  expect(await after.download("honest")).toEqual(await hello("honest"));
  expect(await after.download("p3")).toEqual(await hello("p3"));
  expect(server.output).not.toMatch(/URI:|URI%3A/i);
});
