// Suites with long descriptions in Translation-en: each is listed once, and the work depends on the change only.
import { gunzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { parseStanzas } from "../../../src/debian/deb822.ts";
import { fieldOf } from "../../../src/debian/stanza.ts";
import { aDeb, runTool } from "../../support/debs.ts";
import { ServedFolder, sha256 } from "../../support/served-folder.ts";

const main = "dists/sid/main";
const translation = `${main}/i18n/Translation-en`;
const limits = { maxStanzaBytes: 1_000_000, maxFields: 100, maxFieldNameBytes: 100 };

async function putDeb(
  served: ServedFolder,
  { name = "hello", version = "1", architecture = "amd64", description = "it\n is long", at = 1_700_000_000 },
): Promise<string> {
  const path = `${main}/binary-${architecture}/${name}_${version}_${architecture}.deb`;
  const recipe = { package: name, version, architecture, fields: { Description: description } };
  served.put(path, await aDeb(recipe), at);
  return path;
}

async function descriptions(
  served: ServedFolder,
): Promise<readonly (readonly [string | undefined, string | undefined])[]> {
  const stanzas = parseStanzas(Buffer.from(await served.text(translation)), limits);
  return stanzas.map((stanza) => [fieldOf(stanza, "Package"), fieldOf(stanza, "Description-en")]);
}

test("Packages keeps the first line and an MD5 that refers to the rest in Translation-en, which is listed in every form", async () => {
  const served = new ServedFolder({ translations: true });
  await putDeb(served, {});
  await served.ping();
  const packages = parseStanzas(Buffer.from(await served.text(`${main}/binary-amd64/Packages`)), limits)[0]!;
  const translated = parseStanzas(Buffer.from(await served.text(translation)), limits)[0]!;
  expect(fieldOf(packages, "Description")).toBe("it");
  expect(fieldOf(translated, "Description-en")).toBe("it\n is long");
  expect(fieldOf(packages, "Description-md5")).toBe(fieldOf(translated, "Description-md5"));
  const release = await served.text("dists/sid/Release");
  const plain = (await served.bytes(translation))!;
  expect(gunzipSync((await served.bytes(`${translation}.gz`))!)).toEqual(plain);
  expect(runTool("xz", ["-dc"], (await served.bytes(`${translation}.xz`))!, "xz-utils")).toEqual(plain);
  for (const suffix of ["", ".gz", ".xz"]) {
    const bytes = (await served.bytes(`${translation}${suffix}`))!;
    expect(release).toContain(` ${sha256(bytes)} ${bytes.length} main/i18n/Translation-en${suffix}\n`);
    expect(await served.bytes(`${main}/i18n/by-hash/SHA256/${sha256(bytes)}`)).toEqual(bytes);
  }
});

test("by default there is no Translation-en, and Packages contains the whole description", async () => {
  const served = new ServedFolder();
  await putDeb(served, {});
  await served.ping();
  expect(await served.text("dists/sid/Release")).not.toContain("i18n");
  expect(await served.bytes(translation)).toBeUndefined();
  const packages = await served.text(`${main}/binary-amd64/Packages`);
  expect(packages).toContain("Description: it\n is long\n");
  expect(packages).not.toContain("Description-md5");
});

test("a description that versions, architectures and packages share is listed once for each package name", async () => {
  const served = new ServedFolder({ translations: true });
  await putDeb(served, {});
  await putDeb(served, { version: "2" });
  await putDeb(served, { architecture: "arm64" });
  await putDeb(served, { architecture: "all", version: "3", description: "it\n is other" });
  await putDeb(served, { name: "world" });
  await putDeb(served, { name: "mute", description: "" });
  await served.ping();
  expect((await descriptions(served)).map((entry) => entry.join(": ")).toSorted()).toEqual([
    "hello: it\n is long",
    "hello: it\n is other",
    "world: it\n is long",
  ]);
});

test("a description stays unchanged while any package has it, and disappears with the last one", async () => {
  const served = new ServedFolder({ translations: true });
  const first = await putDeb(served, { version: "1", at: 1_700_000_000 });
  await putDeb(served, { name: "other", at: 1_700_000_005 });
  await served.ping();
  const before = await served.text(translation);
  const second = await putDeb(served, { version: "2", at: 1_700_000_010 });
  await served.ping(second);
  expect(await served.text(`${main}/binary-amd64/Packages`)).toContain("Version: 2");
  expect(await served.text(translation)).toBe(before);
  served.remove(first);
  await served.ping(first);
  expect((await descriptions(served)).map(([name]) => name)).toEqual(["other", "hello"]);
  served.remove(second);
  await served.ping(second);
  expect((await descriptions(served)).map(([name]) => name)).toEqual(["other"]);
});

test("packages for debian-installer keep their descriptions, and Translation-en does not list them", async () => {
  const served = new ServedFolder({ translations: true });
  await putDeb(served, {});
  const udeb = await aDeb({ package: "step", architecture: "amd64", fields: { Description: "it\n is a step" } });
  served.put(`${main}/debian-installer/binary-amd64/step_1_amd64.udeb`, udeb);
  await served.ping();
  const packages = await served.text(`${main}/debian-installer/binary-amd64/Packages`);
  expect(packages).toContain("Description: it\n is a step\n");
  expect((await descriptions(served)).map(([name]) => name)).toEqual(["hello"]);
});
