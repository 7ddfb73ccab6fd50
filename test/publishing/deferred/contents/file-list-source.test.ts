// The file lists for Contents: uploaders' own objects, malicious ones too, and lists of bytes that were read before.
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { inspectContent } from "../../../../src/catalog/inspection/inspect.ts";
import { defaultInspectLimits as limits } from "../../../../src/catalog/inspection/inspect-limits.ts";
import { entryMetadataOf } from "../../../../src/catalog/metadata/entry-metadata.ts";
import type { Tree } from "../../../../src/storage/tree.ts";
import { ContentGone, StorageUnavailable } from "../../../../src/storage/tree.ts";
import { aDeb, inChunks, tarOf } from "../../../support/debs.ts";
import { lookWithMetadata } from "../../../support/metadata-tree.ts";
import { ServedFolder, servedContents } from "../../../support/served-folder.ts";

const amd64 = "dists/sid/main/binary-amd64";
const index = "main/Contents-amd64";

/** The paths in the index, sorted. */
const pathsIn = (text: string): readonly string[] => [...text.matchAll(/^(\S+) +\S+$/gm)].map(([, path = ""]) => path);

const hello = (name: string): Promise<Buffer> =>
  aDeb({ package: name, architecture: "amd64", files: { [`./usr/bin/${name}`]: name } });

/** A folder whose packages have metadata, and whose file lists are objects behind caps. */
function withLists() {
  const said = new Map<string, unknown>();
  const objects = new Map<string, Uint8Array | "lost">();
  const opened: string[] = [];
  const events: string[] = [];
  const wrap = (tree: Tree): Tree => ({
    look: lookWithMetadata(tree, said),
    async *open(file, range, signal) {
      const cap = file.content?.reveal() ?? "";
      const object = objects.get(cap);
      opened.push(cap.startsWith("URI:") ? cap : file.path);
      if (object === "lost") throw new StorageUnavailable(file.path, "lost", { transient: true });
      if (object !== undefined) yield object;
      else if (cap.startsWith("URI:")) throw new ContentGone(file.path);
      else yield* tree.open(file, range, signal);
    },
  });
  const served = new ServedFolder({
    contents: true,
    wrap,
    observer: {
      metadataRejected: (reason) => void events.push(`refused: ${reason}`),
      audited: (verdict) => void events.push(`audited: ${verdict}`),
    },
  });
  /** Adds a package with its metadata and, if given, the pointer to a file list. */
  const place = async (name: string, contents?: string): Promise<void> => {
    const bytes = await hello(name);
    served.put(`${amd64}/${name}.deb`, bytes);
    const inspection = await inspectContent("binary", inChunks(bytes), { limits, algorithms: ["md5"] });
    if (inspection.kind !== "binary") throw new Error("no package");
    said.set(`${amd64}/${name}.deb`, { ...entryMetadataOf(inspection), ...(contents && { contents }) });
  };
  return { served, objects, opened, events, place };
}

test("with an uploader's file list, the package is not read for Contents", async () => {
  const { served, objects, opened, events, place } = withLists();
  const bytes = await inspectContent("binary", inChunks(await hello("a")), { limits, algorithms: [], fileLists: true });
  objects.set("URI:a", (bytes.kind === "binary" && bytes.fileList) || Buffer.of());
  await place("a", "URI:a");
  await served.ping();
  expect(pathsIn(await servedContents(served, index))).toEqual(["usr/bin/a"]);
  expect(opened).toEqual(["URI:a"]);

  await served.repository.audit.scrubOne();
  expect(events).toEqual(["audited: confirmed"]);
  await served.restart();
  await served.ping();
  expect(pathsIn(await servedContents(served, index))).toEqual(["usr/bin/a"]);
  expect(opened).toEqual(["URI:a", `${amd64}/a.deb`]);
});

test("a package without an uploader's file list is read once in the background", async () => {
  const { served, opened, place } = withLists();
  await place("a");
  await served.ping();
  expect(pathsIn(await servedContents(served, index))).toEqual(["usr/bin/a"]);
  await place("b");
  await served.ping();
  expect(pathsIn(await servedContents(served, index))).toEqual(["usr/bin/a", "usr/bin/b"]);
  expect(opened).toEqual([`${amd64}/a.deb`, `${amd64}/b.deb`]);
});

test.each<[string, Uint8Array | undefined]>([
  ["text", Buffer.from("usr/bin/evil\n")],
  ["empty", Buffer.of()],
  ["unsorted", gzipSync("usr/b\nusr/a\n")],
  ["absolute", gzipSync("/etc/passwd\n")],
  ["a decompression bomb", gzipSync(Buffer.alloc(limits.maxFileListBytes + 1, "a"))],
  ["missing", undefined],
])(
  "instead of a file list that is %s, the bytes are used, and the list is not requested again",
  async (_what, object) => {
    const { served, objects, opened, events, place } = withLists();
    if (object !== undefined) objects.set("URI:bad", object);
    await place("a", "URI:bad");
    await place("b");
    await served.ping();
    expect(pathsIn(await servedContents(served, index))).toEqual(["usr/bin/a", "usr/bin/b"]);
    expect(events).toEqual(["refused: malformed"]);
    expect(opened.toSorted()).toEqual(["URI:bad", `${amd64}/a.deb`, `${amd64}/b.deb`]);
    await served.restart();
    served.remove(`${amd64}/b.deb`);
    await served.ping();
    expect(pathsIn(await servedContents(served, index))).toEqual(["usr/bin/a"]);
    expect(opened.filter((each) => each === "URI:bad")).toHaveLength(1);
  },
);

test("a file list that differs from the bytes is found by the audit, and the package is removed", async () => {
  const { served, objects, events, place } = withLists();
  objects.set("URI:lie", gzipSync("usr/bin/sudo\n"));
  await place("a", "URI:lie");
  await place("honest");
  await served.ping();
  expect(pathsIn(await servedContents(served, index))).toEqual(["usr/bin/honest", "usr/bin/sudo"]);
  for (let count = 0; count < 2; count++) await served.repository.audit.scrubOne();
  expect(events.filter((event) => event === "audited: refuted")).toHaveLength(1);
  const { rejected } = await served.ping();
  expect(rejected).toMatchObject([{ path: `${amd64}/a.deb`, code: "mismatch" }]);
  expect(rejected[0]?.reason).toContain("list of files");
  expect(pathsIn(await servedContents(served, index))).toEqual(["usr/bin/honest"]);
});

test("an unreadable file list delays the others only for a while", async () => {
  const { served, objects, opened, place } = withLists();
  objects.set("URI:lost", "lost");
  await place("a", "URI:lost");
  await place("b");
  await served.ping();
  await expect.poll(() => served.bytes(`dists/sid/${index}`), { timeout: 10_000 }).toBeDefined();
  expect(pathsIn(await served.text(`dists/sid/${index}`))).toEqual(["usr/bin/b"]);
  expect(opened.filter((each) => each === "URI:lost")).toHaveLength(3);
  objects.delete("URI:lost");
  await served.restart();
  await served.ping();
  expect(pathsIn(await servedContents(served, index))).toEqual(["usr/bin/a", "usr/bin/b"]);
});

test("Contents that are switched on start without waiting, and omit what dpkg cannot unpack; switched off, they disappear", async () => {
  const served = new ServedFolder({});
  served.put(`${amd64}/a.deb`, await hello("a"));
  const pax = await tarOf([{ name: "./é", content: "x" }]);
  const members = ([format, control]: readonly { name: string; content: Uint8Array | string }[]) => [
    format!,
    control!,
    { name: "data.tar", content: pax },
  ];
  served.put(`${amd64}/pax.deb`, await aDeb({ package: "pax", architecture: "amd64", members }));
  await served.ping();
  expect(await served.text(`${amd64}/Packages`)).toContain("Package: pax");

  await served.restart({ contents: true });
  expect((await served.ping()).rejected).toEqual([]);
  expect(pathsIn(await servedContents(served, index))).toEqual(["usr/bin/a"]);
  await expect.poll(() => served.text(`${amd64}/Packages`)).not.toContain("Package: pax");
  expect((await served.ping()).rejected).toMatchObject([{ path: `${amd64}/pax.deb`, code: "bad-data" }]);

  await served.restart({});
  await served.ping();
  await served.deferredGenerated();
  expect(await served.bytes(`dists/sid/${index}`)).toBeUndefined();
  expect(await served.text("dists/sid/Release")).not.toContain("Contents");
});
