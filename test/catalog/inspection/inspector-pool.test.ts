// Inspection in the caller's thread and in workers: equal results, limits, and recovery from a crashed worker.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Worker } from "node:worker_threads";
import { expect, onTestFinished, test } from "vitest";
import { withResolvers } from "../../../src/base/with-resolvers.ts";
import { inspectContent, packageKindOf } from "../../../src/catalog/inspection/inspect.ts";
import { defaultInspectLimits } from "../../../src/catalog/inspection/inspect-limits.ts";
import { InspectorFailed } from "../../../src/catalog/inspection/inspect-thread.ts";
import { InspectorPool } from "../../../src/catalog/inspection/inspector-pool.ts";
import type { LocalFile } from "../../../src/storage/local-file.ts";
import { fileIdentityOf } from "../../../src/storage/local-file.ts";
import { aDeb, aDsc, inChunks, tarHeader } from "../../support/debs.ts";

const options = { limits: defaultInspectLimits, algorithms: ["md5", "sha256"] } as const;
const never = new AbortController().signal;

function anInspector(threadCount = 2, limits = defaultInspectLimits, maxHeapMebibytes?: number): InspectorPool {
  const inspector = new InspectorPool({ ...options, limits }, threadCount, maxHeapMebibytes);
  onTestFinished(() => inspector.close());
  return inspector;
}

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
const large = (): Promise<Buffer> =>
  aDeb({ compression: "none", files: { "./large": Buffer.alloc(5_000_000, "large ") } });

test.each([
  ["hello_1.0_all.deb", "binary"],
  ["hello_1.0_all.udeb", "binary"],
  ["hello_1.0.dsc", "source"],
  ["hello_1.0.orig.tar.gz", undefined],
  ["deb", undefined],
  ["hello.deb.asc", undefined],
] as const)("%s announces the kind %s", (name, kind) => {
  expect(packageKindOf(name)).toBe(kind);
});

test("a valid package, .dsc and part have the same inspection in chunks, in memory and in a worker", async () => {
  const inspector = anInspector();
  const { dsc, files } = aDsc();
  const cases = [
    ["binary", await aDeb()],
    ["binary", await aDeb({ compression: "xz" })],
    ["binary", await aDeb({ compression: "zst" })],
    ["binary", await large()],
    ["source", files.get(dsc)!],
    ["part", Buffer.from("any bytes")],
  ] as const;
  for (const [kind, bytes] of cases) {
    const here = await inspectContent(kind, inChunks(bytes), options);
    expect(here).toMatchObject({ kind, sizeBytes: bytes.length, digests: { sha256: sha256(bytes) } });
    expect(await inspectContent(kind, bytes, options)).toEqual(here);
    expect(await inspector.inspect(kind, inChunks(bytes, 60_000), never)).toEqual(here);
  }
});

test("an invalid package is a rejection that says what is wrong and where", async () => {
  const inspector = anInspector();
  const whole = await aDeb();
  for (const bytes of [whole.subarray(0, -10), Buffer.from("a text"), Buffer.alloc(0)]) {
    const here = await inspectContent("binary", inChunks(bytes), options);
    expect(here).toMatchObject({ kind: "rejected" });
    expect(await inspector.inspect("binary", inChunks(bytes), never)).toEqual(here);
  }
  expect(await inspectContent("binary", inChunks(whole.subarray(0, -10)), options)).toEqual({
    kind: "rejected",
    code: "truncated",
    text: "it ends inside its member data.tar.gz",
  });
});

test("the given limits apply in the workers", async () => {
  const inspector = anInspector(1, { ...defaultInspectLimits, maxFields: 2 });
  expect(await inspector.inspect("binary", inChunks(await aDeb()), never)).toMatchObject({
    kind: "rejected",
    code: "limit",
  });
});

test("a file of unknown size is rejected as soon as it exceeds the limit", async () => {
  const limits = { ...defaultInspectLimits, maxFileBytes: 100_000 };
  let readBytes = 0;
  async function* endless() {
    for (;;) {
      readBytes += 10_000;
      yield Buffer.alloc(10_000);
    }
  }
  expect(await inspectContent("part", endless(), { ...options, limits })).toMatchObject({
    kind: "rejected",
    code: "limit",
  });
  expect(readBytes).toBeLessThanOrEqual(120_000);
});

test("a view of a shared buffer is not changed", async () => {
  const whole = await aDeb();
  const shared = Buffer.concat([Buffer.from("before"), whole, Buffer.from("after")]);
  await anInspector().inspect("binary", inChunks(shared.subarray(6, -5)), never);
  expect(shared.toString("latin1")).toContain("after");
});

test("errors of the content are thrown unchanged, early or late, and the pool still works", async () => {
  const inspector = anInspector(1);
  const whole = await large();
  const lost = new Error("the grid is away");
  for (const before of [0, 1000, 3_000_000]) {
    const content = (async function* () {
      yield* inChunks(whole.subarray(0, before), 60_000);
      throw lost;
    })();
    await expect(inspector.inspect("binary", content, never)).rejects.toBe(lost);
  }
  expect(await inspector.inspect("binary", inChunks(await aDeb()), never)).toMatchObject({ kind: "binary" });
});

test("a content is not read far ahead of a worker, nor beyond its flaw", async () => {
  let readBytes = 0;
  let closed = false;
  const endless = (async function* () {
    try {
      yield Buffer.from("!<arch>\nnot an ar header");
      for (;;) {
        readBytes += 60_000;
        yield Buffer.alloc(60_000);
      }
    } finally {
      closed = true;
    }
  })();
  expect(await anInspector().inspect("binary", endless, never)).toMatchObject({ kind: "rejected", code: "not-a-deb" });
  expect(readBytes).toBeLessThan(4_000_000);
  await expect.poll(() => closed).toBe(true);
});

test("an aborted inspection throws the signal's reason and closes its content", async () => {
  const inspector = anInspector(1);
  const whole = await large();
  const controller = new AbortController();
  let closed = false;
  const slow = (async function* () {
    try {
      yield* inChunks(whole.subarray(0, 2_000_000), 60_000);
      controller.abort(new Error("nobody asks any more"));
      yield* inChunks(whole.subarray(2_000_000), 60_000);
    } finally {
      closed = true;
    }
  })();
  await expect(inspector.inspect("binary", slow, controller.signal)).rejects.toThrow("nobody asks any more");
  await expect.poll(() => closed).toBe(true);
  await expect(inspector.inspect("binary", inChunks(whole), controller.signal)).rejects.toThrow("nobody asks any more");
  expect(await inspector.inspect("binary", inChunks(whole), never)).toMatchObject({ kind: "binary" });
});

test("closing the pool fails running inspections with a typed error", async () => {
  const inspector = new InspectorPool(options, 1);
  const whole = await large();
  const stuck = (async function* () {
    yield* inChunks(whole.subarray(0, 3_000_000), 60_000);
    await inspector.close();
    yield* inChunks(whole.subarray(3_000_000), 60_000);
  })();
  await expect(inspector.inspect("binary", stuck, never)).rejects.toThrow(InspectorFailed);
  await expect(inspector.inspect("binary", inChunks(whole), never)).rejects.toThrow(InspectorFailed);
});

/** A package of zeros, which takes a worker about a second. */
async function aSlowDeb(): Promise<Buffer> {
  const sizeBytes = 2 ** 26;
  const zeros = `(cat; head -c ${sizeBytes + 1024} /dev/zero) | xz -0`;
  const content = execFileSync("bash", ["-o", "pipefail", "-c", zeros], { input: tarHeader("./zeros", sizeBytes) });
  return await aDeb({ members: (usual) => [...usual.slice(0, 2), { name: "data.tar.xz", content }] });
}

test("a builder whose packages take long leaves a worker for other builders, for streams and for local files", async () => {
  const limits = { ...defaultInspectLimits, maxDataRatio: 1_000_000 };
  const inspector = new InspectorPool({ ...options, limits, fileLists: true }, 2);
  onTestFinished(() => inspector.close());
  const [slow, quick] = [await aSlowDeb(), await aDeb()];
  const { slow: slowFile, quick: quickFile } = writeFiles({ slow, quick });
  let ended = 0;
  const end = (): void => {
    ended += 1;
  };
  const begun = withResolvers<void>();
  async function* told(): AsyncGenerator<Uint8Array> {
    for await (const chunk of inChunks(slow)) {
      yield chunk;
      begun.resolve();
    }
  }
  const attack = Array.from({ length: 4 }, () => [
    inspector.inspect("binary", told(), never, "mallory").then(end),
    inspector.inspectLocal("binary", slowFile!, never, "mallory").then(end),
  ]).flat();
  await begun.promise;
  expect(await inspector.inspect("binary", inChunks(quick), never, "alice")).toMatchObject({ kind: "binary" });
  expect(await inspector.inspectLocal("binary", quickFile!, never, "bob")).toMatchObject({ kind: "binary" });
  expect(ended).toBeLessThan(8);
  await Promise.all(attack);
});

/** A small package with a large control stanza. */
const aBomb = (): Promise<Buffer> =>
  aDeb({ control: Buffer.from(Array.from({ length: 300_000 }, (_none, index) => `A${index}: \n`).join("")) });

test("a file that exhausts a worker's memory is rejected, and the pool still works", async () => {
  const inspector = anInspector(1, { ...defaultInspectLimits, maxStanzaBytes: 2 ** 30, maxFields: 2 ** 30 }, 24);
  expect(await inspector.inspect("binary", inChunks(await aBomb()), never)).toMatchObject({
    kind: "rejected",
    code: "limit",
  });
  expect(await inspector.inspect("binary", inChunks(await aDeb()), never)).toMatchObject({ kind: "binary" });
});

/** Writes files, and returns them as a folder tree does. */
function writeFiles(files: Readonly<Record<string, Uint8Array>>): Record<string, LocalFile> {
  const root = mkdtempSync(join(tmpdir(), "tahoe-apt-placed-"));
  onTestFinished(() => rmSync(root, { recursive: true }));
  return Object.fromEntries(
    Object.entries(files).map(([name, bytes]) => {
      const path = join(root, name);
      writeFileSync(path, bytes);
      const identity = fileIdentityOf(statSync(path, { bigint: true }));
      return [name, { location: { root, path, fileIdentity: identity, hardLinkPath: undefined } }];
    }),
  );
}

test("local files that the workers read are inspected like others, each independently", async () => {
  const inspector = anInspector();
  const debs = await Promise.all(Array.from({ length: 100 }, (_none, index) => aDeb({ package: `local-${index}` })));
  const files = Object.values(writeFiles({ ...Object.fromEntries(debs.entries()), broken: debs[0]!.subarray(0, -10) }));
  const found = await Promise.all(files.map((file) => inspector.inspectLocal("binary", file, never)));
  const wanted = await Promise.all(debs.map((deb) => inspectContent("binary", inChunks(deb), options)));
  expect(found).toEqual([...wanted, expect.objectContaining({ kind: "rejected", code: "truncated" })]);
});

test("the bytes that a worker has read are returned on request, also those of a rejected file", async () => {
  const inspector = anInspector(1);
  const contents = { good: await aDeb(), broken: Buffer.from("no package") };
  const files = writeFiles(contents);
  for (const [name, bytes] of Object.entries(contents)) {
    const received: Uint8Array[] = [];
    const file = { ...files[name]!, onContent: (content: Uint8Array) => received.push(content) };
    const kind = name === "good" ? "binary" : "rejected";
    expect(await inspector.inspectLocal("binary", file, never)).toMatchObject({ kind });
    expect(received.map((each) => Buffer.from(each))).toEqual([bytes]);
  }
});

test("files that a worker cannot read are left to the tree, and its reads are reported", async () => {
  const inspector = anInspector(1);
  const { good, changed } = writeFiles({ good: await aDeb(), changed: Buffer.from("first") });
  writeFileSync(changed!.location.path, "another");
  const told: number[] = [];
  const asked = [good!, changed!].map((file) => ({
    ...file,
    onRead: (_seconds: number, bytes: number) => told.push(bytes),
  }));
  const found = await Promise.all(asked.map((file) => inspector.inspectLocal("binary", file, never)));
  expect(found).toEqual([expect.objectContaining({ kind: "binary" }), undefined]);
  expect(told).toEqual([(await aDeb()).length]);
  const aborted = AbortSignal.abort(new Error("nobody asks any more"));
  await expect(inspector.inspectLocal("binary", good!, aborted)).rejects.toThrow("nobody asks any more");
});

test("if one file of a batch exhausts a worker's memory, only that one is rejected", async () => {
  const inspector = anInspector(1, { ...defaultInspectLimits, maxStanzaBytes: 2 ** 30, maxFields: 2 ** 30 }, 24);
  const files = writeFiles({ good: await aDeb(), bomb: await aBomb(), better: await aDeb() });
  const found = await Promise.all(Object.values(files).map((file) => inspector.inspectLocal("binary", file, never)));
  expect(found.map((inspection) => inspection?.kind)).toEqual(["binary", "rejected", "binary"]);
  expect(found[1]).toMatchObject({ code: "limit", text: expect.stringContaining("24 MiB of memory") });
});

test("running batches fail with a typed error when the pool is closed", async () => {
  const inspector = new InspectorPool(options, 1);
  const files = Object.values(writeFiles({ one: await aDeb(), two: await aDeb() }));
  const failing = files.map((file) => inspector.inspectLocal("binary", file, never));
  const settled = Promise.allSettled(failing);
  await Promise.resolve();
  await inspector.close();
  for (const result of await settled) expect(result).toMatchObject({ reason: expect.any(InspectorFailed) });
});

test("no more files are open at once than the workers can inspect", async () => {
  const inspector = anInspector(2);
  const debs = await Promise.all(Array.from({ length: 20 }, (_none, index) => aDeb({ package: `many-${index}` })));
  let open = 0;
  let mostOpen = 0;
  async function* counted(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
    mostOpen = Math.max(mostOpen, ++open);
    try {
      yield bytes;
    } finally {
      open--;
    }
  }
  const all = await Promise.all(
    Array.from({ length: 1000 }, (_none, index) => inspector.inspect("binary", counted(debs[index % 20]!), never)),
  );
  all.forEach((one, index) => {
    expect(one).toMatchObject({ kind: "binary", digests: { sha256: sha256(debs[index % 20]!) } });
  });
  expect(mostOpen).toBeGreaterThan(1);
  expect(mostOpen).toBeLessThanOrEqual(8);
  expect(open).toBe(0);
});

test("idle workers end except for one, and later files start new ones", async () => {
  const alive = new Set<Worker>();
  const watch = (worker: Worker) => void alive.add(worker.on("exit", () => alive.delete(worker)));
  process.on("worker", watch);
  const pool = new InspectorPool(options, 3, undefined, 50);
  try {
    for (let round = 0; round < 2; round++) {
      const parts = Array.from({ length: 12 }, () => pool.inspect("part", inChunks(Buffer.from("part")), never));
      await expect.poll(() => alive.size, { interval: 1, timeout: 30_000 }).toBe(3);
      expect(await Promise.all(parts)).toHaveLength(12);
      await expect.poll(() => alive.size, { timeout: 30_000 }).toBe(1);
    }
  } finally {
    process.off("worker", watch);
    await pool.close();
  }
});
