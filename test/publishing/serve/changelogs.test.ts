// Changelogs of published packages, under the paths that apt requests.
import { randomBytes } from "node:crypto";
import { linkSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, onTestFinished, test } from "vitest";
import { inspectContent } from "../../../src/catalog/inspection/inspect.ts";
import { defaultInspectLimits as limits } from "../../../src/catalog/inspection/inspect-limits.ts";
import { entryMetadataOf } from "../../../src/catalog/metadata/entry-metadata.ts";
import type { Compression } from "../../../src/debian/decompress.ts";
import { blockOfStream, xzStreamEnd, xzStreamHeader } from "../../../src/indices/compression/xz-stitch.ts";
import { NotSeenYet } from "../../../src/publishing/served-repository.ts";
import type { Tree } from "../../../src/storage/tree.ts";
import type { DebRecipe } from "../../support/debs.ts";
import { aDeb, compressed, inChunks, tarHeader, tarOf } from "../../support/debs.ts";
import { lookWithMetadata } from "../../support/metadata-tree.ts";
import { ServedFolder } from "../../support/served-folder.ts";

const amd64 = "dists/sid/main/binary-amd64";
const entry = (source: string, version: string): string =>
  `${source} (${version}) sid; urgency=low\n\n  * Über all.\n\n -- A <a@b.c>  Thu, 01 Jan 2026 00:00:00 +0000\n`;

/** A package with its own changelog, in the file with this name. */
function withChangelog(recipe: DebRecipe & { readonly package: string }, text: string, file = "changelog.Debian.gz") {
  const bytes = file.endsWith(".gz") ? gzipSync(text) : Buffer.from(text);
  const files = { "./usr/share/doc/a/changelog.Debian.gz": "of another package", ...recipe.files };
  return aDeb({
    architecture: "amd64",
    ...recipe,
    files: { ...files, [`./usr/share/doc/${recipe.package}/${file}`]: bytes },
  });
}

test.each<readonly [string, DebRecipe & { readonly package: string }, string, string]>([
  ["a package's own", { package: "hello", version: "2.0-1" }, "changelog.Debian.gz", "main/h/hello/hello_2.0-1"],
  ["a native package's", { package: "hello", version: "2.0" }, "changelog.gz", "main/h/hello/hello_2.0"],
  ["one that is not compressed", { package: "hello", version: "2.0" }, "changelog.Debian", "main/h/hello/hello_2.0"],
  [
    "one without its epoch",
    { package: "hello", version: "3:2.0-1" },
    "changelog.Debian.gz",
    "main/h/hello/hello_2.0-1",
  ],
  ["a library's", { package: "libhello1", version: "1" }, "changelog.gz", "main/libh/libhello1/libhello1_1"],
  [
    "a differently named source's",
    { package: "libhello1", version: "1:5", fields: { Source: "hello (2:2.0~rc1+ds-1)" } },
    "changelog.Debian.gz",
    "main/h/hello/hello_2.0~rc1+ds-1",
  ],
  [
    "a package's without a space in Source",
    { package: "libhello1", version: "1", fields: { Source: "hello(2.0)" } },
    "changelog.Debian.gz",
    "main/h/hello/hello_2.0",
  ],
  [
    "a rebuilt package's",
    { package: "hello", version: "2.0-1+b1", fields: { Source: "hello (2.0-1)" } },
    "changelog.Debian.gz",
    "main/h/hello/hello_2.0-1",
  ],
])("%s changelog is found", async (_what, recipe, file, path) => {
  const served = new ServedFolder();
  const text = entry(path.split(/[/_]/).at(-2) ?? "", "1");
  served.put(`${amd64}/it.deb`, await withChangelog(recipe, text, file));
  await served.ping();
  expect(await served.text(`changelogs/${path}_changelog`)).toBe(text);
  const { signal } = new AbortController();
  const resource = await served.repository.find(`changelogs/${path}_changelog`, { signal });
  expect(resource).toMatchObject({ caching: "revalidate", contentType: "text/plain; charset=utf-8" });
  const [component, , source = "", name] = path.split("/");
  for (const wrong of [
    `extra/${source[0]}/${source}/${name}`,
    `${component}/x/${source}/${name}`,
    `${component}/${source[0]}/other/${name}`,
    `${component}/${source[0]}/${source}/${name}1`,
  ]) {
    expect(await served.bytes(`changelogs/${wrong}_changelog`), wrong).toBeUndefined();
  }
});

test.each<Compression>(["none", "gz", "xz", "zst", "bz2", "lzma"])(
  "a changelog in a data.tar of %s is found",
  async (form) => {
    const served = new ServedFolder();
    const text = entry("hello", "2.0-1");
    served.put(
      `${amd64}/it.deb`,
      await withChangelog({ package: "hello", version: "2.0-1", compression: "xz", dataCompression: form }, text),
    );
    await served.ping();
    expect(await served.text("changelogs/main/h/hello/hello_2.0-1_changelog")).toBe(text);
  },
);

test("the changelog is found in one of several packages, and the upstream author's changelog is not used", async () => {
  const served = new ServedFolder();
  const fields = { Source: "many" };
  const link = await tarOf([{ name: "./usr/share/doc/many", type: "symlink", linkname: "many-common" }]);
  const members: DebRecipe["members"] = (usual) =>
    usual.map((part) => (part.name.startsWith("data") ? { name: "data.tar", content: link } : part));
  served.put(`${amd64}/many.deb`, await aDeb({ package: "many", architecture: "amd64", fields, members }));
  const upstream = { "./usr/share/doc/many-doc/changelog.gz": gzipSync("Version 1.0: it works") };
  served.put(
    `${amd64}/many-doc.deb`,
    await aDeb({ package: "many-doc", architecture: "all", fields, files: upstream }),
  );
  served.put(
    `${amd64}/many-common.deb`,
    await withChangelog({ package: "many-common", fields }, entry("many", "1.0-1")),
  );
  await served.ping();
  expect(await served.text("changelogs/main/m/many/many_1.0-1_changelog")).toBe(entry("many", "1.0-1"));
  served.remove(`${amd64}/many-common.deb`);
  await served.ping();
  expect(await served.bytes("changelogs/main/m/many/many_1.0-1_changelog")).toBeUndefined();
});

test("a package is read once for any number of requests, and a new one with the same version is read again", async () => {
  let opened = 0;
  const counting = (tree: Tree): Tree => ({
    look: (path, signal) => tree.look(path, signal),
    open: (file, range, signal) => {
      opened += 1;
      return tree.open(file, range, signal);
    },
  });
  const served = new ServedFolder({ wrap: counting });
  served.put(`${amd64}/it.deb`, await withChangelog({ package: "hello" }, entry("hello", "1.0-1")));
  await served.ping();
  opened = 0;
  const path = "changelogs/main/h/hello/hello_1.0-1_changelog";
  const texts = await Promise.all(Array.from({ length: 20 }, () => served.text(path)));
  expect(new Set(texts)).toEqual(new Set([entry("hello", "1.0-1")]));
  expect(opened).toBe(1);
  served.put(`${amd64}/it.deb`, await withChangelog({ package: "hello" }, entry("hello", "another")), 1_700_000_100);
  await served.ping();
  expect(await served.text(path)).toBe(entry("hello", "another"));
});

test("a changelog is found, even if the same bytes were requested before under a falsely claimed name", async () => {
  const said = new Map<string, unknown>();
  const served = new ServedFolder({
    wrap: (tree) => ({
      look: lookWithMetadata(tree, said),
      open: (file, range, signal) => tree.open(file, range, signal),
    }),
  });
  const deb = await withChangelog({ package: "hello" }, entry("hello", "1.0-1"));
  const inspection = await inspectContent("binary", inChunks(deb), { limits, algorithms: ["md5", "sha256"] });
  if (inspection.kind !== "binary") throw new Error("no package");
  const truth = { control: "", ...entryMetadataOf(inspection) };
  served.put(`${amd64}/hello.deb`, deb);
  linkSync(join(served.folder, amd64, "hello.deb"), join(served.folder, amd64, "other.deb"));
  said.set(`${amd64}/hello.deb`, truth);
  said.set(`${amd64}/other.deb`, { ...truth, control: truth.control.replace("hello", "other") });
  await served.ping();
  expect(await served.bytes("changelogs/main/o/other/other_1.0-1_changelog")).toBeUndefined();
  expect(await served.text("changelogs/main/h/hello/hello_1.0-1_changelog")).toBe(entry("hello", "1.0-1"));
});

test("before the first scan, no changelog is reported as absent", async () => {
  const served = new ServedFolder();
  served.put(`${amd64}/it.deb`, await withChangelog({ package: "hello" }, entry("hello", "1.0-1")));
  await served.ping();
  await served.restart();
  const path = "changelogs/main/h/hello/hello_1.0-1_changelog";
  await expect(served.bytes(path)).rejects.toThrow(NotSeenYet);
  await served.ping();
  expect(await served.text(path)).toBe(entry("hello", "1.0-1"));
});

/** The commands of this process's child processes. */
function children(): readonly string[] {
  return readdirSync("/proc").flatMap((pid) => {
    try {
      const [, command = "", parent] = /^\d+ \((.*)\) \S (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, "latin1")) ?? [];
      return Number(parent) === process.pid ? [command] : [];
    } catch {
      return [];
    }
  });
}

const pathOf = (name: string): string => `changelogs/main/${name[0]}/${name}/${name}_1.0-1_changelog`;
const changeData = (change: (data: Buffer) => Uint8Array): Required<DebRecipe>["members"] => {
  return ([a, b, data]) => [a!, b!, { ...data!, content: change(Buffer.from(data!.content as Uint8Array)) }];
};

test.each<Compression>(["gz", "xz", "zst", "bz2", "lzma"])(
  "%s packages with trailing bytes, truncated and corrupt ones affect only requests for their own changelogs",
  async (dataCompression) => {
    const served = new ServedFolder();
    const corrupt = (data: Buffer) => {
      data[data.length >> 1]! ^= 0x55;
      return data;
    };
    for (const [name, change] of [
      ["trailing", (data) => Buffer.concat([data, Buffer.alloc(300)])],
      ["truncated", (data) => data.subarray(0, data.length >> 1)],
      ["corrupt", corrupt],
      ["hello", (data) => data],
    ] as const satisfies ReadonlyArray<readonly [string, (data: Buffer) => Uint8Array]>) {
      const recipe = { package: name, compression: "gz", dataCompression, members: changeData(change) } as const;
      served.put(`${amd64}/${name}.deb`, await withChangelog(recipe, entry(name, "1.0-1")));
    }
    await served.ping();
    const requests = ["truncated", "corrupt", "trailing", "hello"].map((name) => served.bytes(pathOf(name)));
    const [truncated, , trailing, hello] = await Promise.all(requests);
    expect(truncated).toBeUndefined();
    expect(trailing?.toString()).toBe(entry("trailing", "1.0-1"));
    expect(hello?.toString()).toBe(entry("hello", "1.0-1"));
    expect(children()).toEqual([]);
  },
);

test("a package that takes too long fails with its process, fails at once the next time, and delays no other", async () => {
  let reads = 0;
  const hanging = (tree: Tree): Tree => ({
    look: (path, signal) => tree.look(path, signal),
    open: (file, range, signal) => {
      const content = tree.open(file, range, signal);
      if (!file.path.endsWith("/slow.deb") || !isUp) return content;
      reads += 1;
      return (async function* () {
        for await (const chunk of content) yield chunk.subarray(0, 100);
        // It never continues and ignores the signal.
        await new Promise(() => undefined);
      })();
    },
  });
  let isUp = false;
  const served = new ServedFolder({
    wrap: hanging,
    changelogLimits: { maxReadingMs: 2000, maxChangelogBytes: 2 ** 20 },
  });
  const large = { "./large": randomBytes(3_000_000) };
  served.put(`${amd64}/slow.deb`, await withChangelog({ package: "slow", files: large }, entry("slow", "1.0-1")));
  served.put(`${amd64}/hello.deb`, await withChangelog({ package: "hello" }, entry("hello", "1.0-1")));
  await served.ping();
  isUp = true;
  const slow = served.bytes(pathOf("slow"));
  expect(await served.text(pathOf("hello"))).toBe(entry("hello", "1.0-1"));
  await expect(slow).rejects.toMatchObject({
    code: "publishing/changelog-unreadable",
    message: expect.stringContaining("max_reading_seconds = 2") as string,
  });
  expect(children()).toEqual([]);
  await expect(served.bytes(pathOf("slow"))).rejects.toMatchObject({ code: "publishing/changelog-unreadable" });
  expect(reads).toBe(1);
});

test("decoding that takes too long is killed at any point", async () => {
  const changelogLimits = { maxReadingMs: 700, maxChangelogBytes: 2 ** 20 };
  // Otherwise the ratio limit would end it sooner.
  const served = new ServedFolder({ changelogLimits, inspectLimits: { ...limits, maxDataRatio: 2 ** 14 } });
  const zeros = blockOfStream(await compressed("xz", Buffer.alloc(2 ** 24)));
  const header = blockOfStream(await compressed("xz", tarHeader("./usr/zeros", 20_000_000_000)));
  const blocks = [header, ...Array.from({ length: 300 }, () => zeros)];
  const content = Buffer.concat([xzStreamHeader, ...blocks.map((block) => block.bytes), xzStreamEnd(blocks)]);
  const bomb = await aDeb({ package: "bomb", members: ([a, b]) => [a!, b!, { name: "data.tar.xz", content }] });
  served.put(`${amd64}/bomb.deb`, bomb);
  await served.ping();
  const ticks: number[] = [];
  const ticking = setInterval(() => ticks.push(performance.now()), 10);
  onTestFinished(() => clearInterval(ticking));
  await expect(served.bytes(pathOf("bomb"))).rejects.toMatchObject({
    code: "publishing/changelog-unreadable",
    message: expect.stringContaining("max_reading_seconds") as string,
  });
  await expect.poll(children).toEqual([]);
  // If this thread decoded, there would be no tick before the limit.
  expect(Math.max(...ticks.slice(1).map((tick, index) => tick - ticks[index]!))).toBeLessThan(
    changelogLimits.maxReadingMs - 100,
  );
});
