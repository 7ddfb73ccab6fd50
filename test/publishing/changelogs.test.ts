// Changelogs out of published packages, under the names that apt asks for.
import { linkSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { entryMetadataOf } from "../../src/catalog/entry-metadata.ts";
import { inspectContent } from "../../src/catalog/inspect.ts";
import { defaultInspectLimits as limits } from "../../src/catalog/inspect-limits.ts";
import type { Compression } from "../../src/debian/decompress.ts";
import { NotSeenYet } from "../../src/publishing/served.ts";
import type { Tree } from "../../src/storage/tree.ts";
import type { DebRecipe } from "../support/debs.ts";
import { aDeb, inChunks, tarOf } from "../support/debs.ts";
import { ServedFolder } from "../support/served-folder.ts";
import { lookTold } from "../support/told-tree.ts";

const amd64 = "dists/sid/main/binary-amd64";
const entry = (source: string, version: string): string =>
  `${source} (${version}) sid; urgency=low\n\n  * Über all.\n\n -- A <a@b.c>  Thu, 01 Jan 2026 00:00:00 +0000\n`;

/** A package with a changelog of its own, in the file of this name. */
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
    "its source's",
    { package: "libhello1", version: "1:5", fields: { Source: "hello (2:2.0~rc1+ds-1)" } },
    "changelog.Debian.gz",
    "main/h/hello/hello_2.0~rc1+ds-1",
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

test("of several packages one has it, and the upstream author's is not taken for it", async () => {
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

test("however often it is asked for, a package is read once, and a new one of the same version anew", async () => {
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

test("a package's changelog is found, though its bytes were asked for before under a name that somebody claimed", async () => {
  const said = new Map<string, unknown>();
  const served = new ServedFolder({
    wrap: (tree) => ({
      look: lookTold(tree, said),
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

test("before the tree was seen no changelog is called absent", async () => {
  const served = new ServedFolder();
  served.put(`${amd64}/it.deb`, await withChangelog({ package: "hello" }, entry("hello", "1.0-1")));
  await served.ping();
  await served.restart();
  const path = "changelogs/main/h/hello/hello_1.0-1_changelog";
  await expect(served.bytes(path)).rejects.toThrow(NotSeenYet);
  await served.ping();
  expect(await served.text(path)).toBe(entry("hello", "1.0-1"));
});
