// Claims: they replace reading, are compared with the bytes later, and harm nobody else if they are wrong.
import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { inspectContent } from "../../../src/catalog/inspection/inspect.ts";
import { defaultInspectLimits as limits } from "../../../src/catalog/inspection/inspect-limits.ts";
import type { PackageKind } from "../../../src/catalog/inspection/inspection.ts";
import { entryMetadataOf } from "../../../src/catalog/metadata/entry-metadata.ts";
import type { FileRef, Tree } from "../../../src/storage/tree.ts";
import { StorageUnavailable } from "../../../src/storage/tree.ts";
import { aDeb, aDsc, inChunks } from "../../support/debs.ts";
import { lookWithMetadata } from "../../support/metadata-tree.ts";
import { ServedFolder } from "../../support/served-folder.ts";

const amd64 = "dists/sid/main/binary-amd64";
const source = "dists/sid/main/source";
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** The metadata that an honest uploader writes beside a link. */
async function metadataOf(bytes: Uint8Array, kind: PackageKind = "binary"): Promise<object> {
  const inspection = await inspectContent(kind, inChunks(bytes), { limits, algorithms: ["md5", "sha256"] });
  if (inspection.kind === "rejected") throw new Error(inspection.text);
  return entryMetadataOf(inspection);
}

/** A folder whose listings contain metadata, and a count of opened files. */
function withMetadata() {
  const said = new Map<string, unknown>();
  const opened: string[] = [];
  const lost = new Set<string>();
  const events: string[] = [];
  const wrap = (tree: Tree): Tree => ({
    look: lookWithMetadata(tree, said),
    open(file: FileRef, range, signal) {
      opened.push(file.path);
      if (lost.has(file.path)) throw new StorageUnavailable(file.path, "lost", { transient: false });
      return tree.open(file, range, signal);
    },
  });
  const served = new ServedFolder({
    wrap,
    observer: {
      inspected: (from) => void events.push(from),
      metadataRejected: (reason) => void events.push(`refused: ${reason}`),
      audited: (verdict) => void events.push(`audited: ${verdict}`),
    },
  });
  const names = async () => {
    const index = await served.bytes(`${amd64}/Packages`);
    return [...(index?.toString() ?? "").matchAll(/^Package: (.*)$/gm)].map((match) => match[1] ?? "").toSorted();
  };
  return { served, said, opened, lost, events, names };
}

const hello = (name = "hello", extra: object = {}) => aDeb({ package: name, architecture: "amd64", ...extra });

test("a tree with metadata gives the same indices as one without, and no file is opened", async () => {
  const [one, other] = [withMetadata(), withMetadata()];
  const { dsc, files } = aDsc();
  const place = async (path: string, bytes: Buffer, kind: PackageKind) => {
    for (const { served } of [one, other]) served.put(path, bytes);
    one.said.set(path, await metadataOf(bytes, kind));
  };
  for (let n = 0; n < 40; n++) await place(`${amd64}/p${n}.deb`, await hello(`p${n}`), "binary");
  for (const [name, bytes] of files) await place(`${source}/${name}`, bytes, name === dsc ? "source" : "part");
  await one.served.ping();
  await other.served.ping();
  for (const path of [`${amd64}/Packages.xz`, `${amd64}/Packages.gz`, `${source}/Sources`]) {
    expect(await one.served.bytes(path)).toEqual(await other.served.bytes(path));
  }
  expect(one.opened).toEqual([]);
  expect(one.events).toEqual(Array.from({ length: 40 + files.size }, () => "entry"));
  expect(await one.served.text(`${source}/Sources`)).toContain("Package: hello");

  await one.served.restart();
  await one.served.ping();
  expect(one.opened).toEqual([]);
});

test("true metadata that is added later changes nothing, and the file is not read again", async () => {
  const { served, said, opened, names } = withMetadata();
  const deb = await hello();
  served.put(`${amd64}/hello.deb`, deb);
  await served.ping();
  const release = await served.text("dists/sid/Release");
  said.set(`${amd64}/hello.deb`, await metadataOf(deb));
  await served.ping();
  expect(await served.text("dists/sid/Release")).toBe(release);
  expect(await names()).toEqual(["hello"]);
  expect(opened).toHaveLength(1);
});

test("invalid metadata is ignored, and the file is read", async () => {
  const { served, said, opened, events, names } = withMetadata();
  const deb = await hello();
  served.put(`${amd64}/hello.deb`, deb);
  said.set(`${amd64}/hello.deb`, { ...(await metadataOf(deb)), sizeBytes: 1 });
  expect((await served.ping()).rejected).toEqual([]);
  expect(await names()).toEqual(["hello"]);
  expect(opened).toHaveLength(1);
  expect(events).toContain("refused: malformed");
});

test("changed metadata for the same bytes and link takes effect, and so does the change back", async () => {
  const { served, said } = withMetadata();
  const deb = await hello();
  const [path, truth] = [`${amd64}/hello.deb`, (await metadataOf(deb)) as { control: string }];
  served.put(path, deb);
  said.set(path, truth);
  await served.ping();
  const before = await served.text(`${amd64}/Packages`);
  said.set(path, { ...truth, control: `${truth.control}Homepage: https://example.org/\n` });
  await served.ping(path);
  expect(await served.text(`${amd64}/Packages`)).toContain("Homepage: https://example.org/");
  said.set(path, truth);
  await served.ping(path);
  expect(await served.text(`${amd64}/Packages`)).toBe(before);
});

const lies: [string, (truth: { control: string }) => object, string][] = [
  ["another digest", (truth) => ({ ...truth, sha256: "00".repeat(32) }), "sha256"],
  ["another weak digest", (truth) => ({ ...truth, md5: "00".repeat(16) }), "md5"],
  ["another version", (truth) => ({ ...truth, control: truth.control.replace("1.0-1", "9") }), "field Version"],
  ["an additional field", (truth) => ({ ...truth, control: `${truth.control}Depends: evil\n` }), "field Depends"],
  [
    "a missing field",
    (truth) => ({ ...truth, control: truth.control.replace(/Maintainer.*\n/, "") }),
    "field Maintainer",
  ],
  ["another time", (truth) => ({ ...truth, builtAtSeconds: 1 }), "time of building"],
];

test.each(lies)(
  "the scrub finds %s and keeps other packages; corrected metadata is then accepted",
  async (_what, lie, what) => {
    const { served, said, events, names } = withMetadata();
    const [path, deb, honest] = [`${amd64}/liar.deb`, await hello("liar"), await hello("honest")];
    const truth = (await metadataOf(deb)) as { control: string };
    served.put(path, deb, 1_700_000_001);
    served.put(`${amd64}/honest.deb`, honest);
    said.set(path, lie(truth));
    said.set(`${amd64}/honest.deb`, await metadataOf(honest));
    await served.ping();
    expect(await names()).toEqual(["honest", "liar"]);

    await served.repository.audit.scrubOne();
    await served.ping();
    expect(await names()).toEqual(["honest"]);
    const [rejected] = served.repository.status().rejected;
    expect(rejected).toEqual({ path, code: "mismatch", reason: `its entry's metadata and its bytes differ: ${what}` });
    await served.repository.audit.scrubOne();
    expect(events.filter((event) => /audited|mismatch/.test(event))).toEqual([
      "audited: refuted",
      "refused: mismatch",
      "audited: confirmed",
    ]);

    await served.restart();
    await served.ping();
    expect(await names()).toEqual(["honest"]);

    said.set(path, truth);
    await served.ping(path);
    expect(await names()).toEqual(["honest", "liar"]);
  },
);

test("a file that is not a package is rejected with the reason found in its bytes", async () => {
  const { served, said, names } = withMetadata();
  const text = Buffer.from("this is no package");
  served.put(`${amd64}/liar.deb`, text);
  said.set(`${amd64}/liar.deb`, {
    ...(await metadataOf(await hello("liar"))),
    sizeBytes: text.length,
    sha256: sha256(text),
  });
  await served.ping();
  expect(await names()).toEqual(["liar"]);
  await served.repository.audit.scrubOne();
  await served.ping();
  expect(await names()).toEqual([]);
  expect(served.repository.status().rejected).toMatchObject([{ code: "not-a-deb" }]);
});

test("a downloaded package is compared with its claim on the way, without another read", async () => {
  const { served, said, opened, names } = withMetadata();
  for (const name of ["liar", "honest"]) {
    const deb = await hello(name);
    const truth = (await metadataOf(deb)) as { control: string };
    served.put(`${amd64}/${name}.deb`, deb);
    said.set(`${amd64}/${name}.deb`, {
      ...truth,
      ...(name === "liar" && { control: `${truth.control}Depends: evil\n` }),
    });
  }
  await served.ping();
  await served.bytes(`${amd64}/liar.deb`);
  await served.bytes(`${amd64}/honest.deb`);
  await expect.poll(names).toEqual(["honest"]);
  expect(opened.toSorted()).toEqual([`${amd64}/honest.deb`, `${amd64}/liar.deb`]);
});

test("after a stream that differed from the claim, only the bytes count, even after a restart", async () => {
  const { served, said, opened, names } = withMetadata();
  const deb = await hello();
  const path = `${amd64}/hello.deb`;
  served.put(path, deb);
  said.set(path, { ...(await metadataOf(deb)), sha256: "11".repeat(32) });
  await served.ping();
  await expect(served.bytes(path)).rejects.toThrow(/digest differs/);
  await expect.poll(names).toEqual([]);
  expect(served.repository.status().rejected).toMatchObject([{ path, code: "mismatch" }]);
  await served.restart();
  await served.ping();
  expect(await names()).toEqual([]);
  expect(opened).toHaveLength(2);
});

test("a claim with the digest of another builder's package cannot replace its bytes, whoever is first", async () => {
  for (const liarFirst of [true, false]) {
    const { served, said, names } = withMetadata();
    const [deb, evil] = [await hello("victim"), await hello("victim", { files: { "./evil": "evil" } })];
    const places = {
      liar: () => {
        served.put(`${amd64}/liar/victim.deb`, evil, 1_600_000_000);
      },
      victim: () => {
        served.put(`${amd64}/victim/victim.deb`, deb);
      },
    };
    const truth = await metadataOf(deb);
    said.set(`${amd64}/victim/victim.deb`, truth);
    said.set(`${amd64}/liar/victim.deb`, { ...truth, sizeBytes: evil.length });
    for (const who of liarFirst ? (["liar", "victim"] as const) : (["victim", "liar"] as const)) {
      places[who]();
      await served.ping(`${amd64}/${who}`);
    }
    const filename = /^Filename: (.*)$/m.exec(await served.text(`${amd64}/Packages`))?.[1] ?? "";
    expect(await names()).toEqual(["victim"]);
    expect(await served.bytes(filename)).toEqual(deb);
    await served.ping();
    expect(served.repository.status().rejected).toMatchObject([{ path: `${amd64}/liar/victim.deb`, code: "mismatch" }]);
  }
});

test("the scrub begins with the newest claim, skips unreadable files, and continues after a restart", async () => {
  const { served, said, opened, lost, events } = withMetadata();
  for (const [n, name] of ["old", "gone", "new"].entries()) {
    const deb = await hello(name);
    served.put(`${amd64}/${name}.deb`, deb, 1_700_000_000 + n);
    said.set(`${amd64}/${name}.deb`, await metadataOf(deb));
  }
  await served.ping();
  await served.repository.audit.scrubOne();
  expect(opened).toEqual([`${amd64}/new.deb`]);
  await served.restart();
  await served.ping();
  lost.add(`${amd64}/gone.deb`);
  await served.repository.audit.scrubOne();
  await served.repository.audit.scrubOne();
  expect(opened.slice(1)).toEqual([`${amd64}/gone.deb`, `${amd64}/old.deb`]);
  expect(events.filter((event) => event.startsWith("audited"))).toEqual([
    "audited: confirmed",
    "audited: unknown",
    "audited: confirmed",
  ]);
});
