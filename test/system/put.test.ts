// `tahoe-apt put` with a real grid, server and apt: uploads are installable when it ends.
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fetch from "node-fetch";
import { afterAll, beforeAll, expect, inject, onTestFinished, test } from "vitest";
import { defaultInspectLimits } from "../../src/catalog/inspection/inspect-limits.ts";
import { decodeFileList } from "../../src/debian/file-list.ts";
import type { AptRoot } from "../support/apt.ts";
import { aDeb, aDsc, runTool } from "../support/debs.ts";
import { InitializedTree, namedDeb } from "../support/initialized-tree.ts";
import { projectRoot } from "../support/project-files.ts";
import { buildSourceTree, writeSourceTree } from "../support/source-tree.ts";

const amd64 = "sid/main/binary-amd64";
const all = "sid/main/binary-all";
const source = "sid/main/source";
let tree: InitializedTree;

beforeAll(async () => {
  tree = await InitializedTree.plant(inject("webapiUrl"));
});
afterAll(() => tree?.close());

async function updated(): Promise<AptRoot> {
  const machine = await tree.apt();
  onTestFinished(() => machine.close());
  await machine.update();
  return machine;
}

test("binaries, an arch:all package and a source are uploaded to their directories, and apt finds them when put ends", async () => {
  const { dsc, files: sources } = aDsc({ source: "hello", version: "1:1.0-1" });
  const files = new Map([
    ...sources,
    await namedDeb({ package: "hello", version: "1:1.0-1" }),
    await namedDeb({ package: "hello-data", architecture: "all" }),
  ]);
  const paths = tree.write(files);
  const { exitCode, status, packages, seconds } = await tree.putJson(
    paths.filter((path) => /\.deb$|\.dsc$/.test(path)),
  );
  expect([exitCode, status]).toEqual([0, "live"]);
  expect(
    packages.map((each) => [each.name, each.version, each.architecture, each.suite, each.component, each.state]),
  ).toEqual([
    ["hello", "1:1.0-1", "source", "sid", "main", "live"],
    ["hello-data", "1.0-1", "all", "sid", "main", "live"],
    ["hello", "1:1.0-1", "amd64", "sid", "main", "live"],
  ]);
  expect(Object.keys(seconds)).toEqual(["check", "upload", "link", "ping"]);
  expect([await tree.names(amd64), await tree.names(all), await tree.names(source)]).toEqual([
    ["hello_1.0-1_amd64.deb"],
    ["hello-data_1.0-1_all.deb"],
    [...sources.keys()].toSorted(),
  ]);

  const machine = await updated();
  expect(await machine.download("hello")).toEqual(files.get("hello_1.0-1_amd64.deb"));
  expect(await machine.download("hello-data")).toEqual(files.get("hello-data_1.0-1_all.deb"));
  expect((await machine.source("hello")).get(dsc)).toEqual(files.get(dsc));
});

/** Runs dpkg-buildpackage on a source. @returns the directory with the results */
function built(name: string, distribution: string): string {
  const work = mkdtempSync(join(tree.work, "build-"));
  writeSourceTree(join(work, name), { name, version: "1.0", distribution });
  buildSourceTree(join(work, name));
  return work;
}

test("a .changes uploads the source and binaries of dpkg-buildpackage, without its .buildinfo", async () => {
  const work = built("from-changes", "sid");
  const { exitCode, output } = await tree.put([join(work, "from-changes_1.0_amd64.changes")]);
  expect([exitCode, output]).toEqual([
    0,
    expect.stringContaining("from-changes_1.0_amd64.buildinfo is checked, but not uploaded"),
  ]);
  expect(output).toMatch(/^live: from-changes 1\.0 source in sid main\nlive: from-changes 1\.0 amd64 in sid main$/m);
  for (const step of ["checked", "uploaded", "linked", "notified"])
    expect(output).toMatch(new RegExp(`${step} in \\d+\\.\\d\\d s`));
  const machine = await updated();
  expect([...(await machine.source("from-changes")).keys()].toSorted()).toEqual([
    "from-changes_1.0.dsc",
    "from-changes_1.0.tar.xz",
  ]);
  expect(await machine.download("from-changes")).toEqual(readFileSync(join(work, "from-changes_1.0_amd64.deb")));
});

test("a .buildinfo uploads the files that it lists, unless a byte of one differs", async () => {
  const work = built("from-buildinfo", "sid");
  const before = await tree.allNames();
  const deb = join(work, "from-buildinfo_1.0_amd64.deb");
  const good = readFileSync(deb);
  writeFileSync(deb, await aDeb({ package: "from-buildinfo", version: "1.0", architecture: "amd64" }));
  const refused = await tree.putJson([join(work, "from-buildinfo_1.0_amd64.buildinfo")]);
  expect([refused.exitCode, refused.status, refused.problems]).toEqual([
    3,
    "refused",
    [{ file: deb, reason: "its size differs from the one in the file that lists it" }],
  ]);
  expect(await tree.allNames()).toEqual(before);
  writeFileSync(deb, good);
  expect(await tree.putJson([join(work, "from-buildinfo_1.0_amd64.buildinfo")])).toMatchObject({
    exitCode: 0,
    status: "live",
  });
});

test("the server reads no bytes of an upload by put, and finds its file list", async () => {
  const [name, bytes] = await namedDeb({
    package: "unread",
    files: { "./usr/bin/unread": "it", "./etc/unread.conf": "it" },
  });
  const reads = async () => {
    const text = await (await fetch(`${tree.server.url}/metrics`)).text();
    return text.split("\n").filter((line) => /^tahoe_apt_inspections_total\{.*source="read"/.test(line));
  };
  const before = await reads();
  expect(await tree.putJson(tree.write(new Map([[name, bytes]])))).toMatchObject({ status: "live" });
  expect(await reads()).toEqual(before);
  expect((await (await fetch(`${tree.server.url}/metrics`)).text()).includes('source="entry"')).toBe(true);
  const entry = (await tree.entries(amd64)).get(name);
  const { contents } = (entry?.kind === "file" ? entry.metadata : {}) as { readonly contents: string };
  const list = await (await fetch(`${inject("webapiUrl")}/uri/${encodeURIComponent(contents)}`)).arrayBuffer();
  expect(decodeFileList(Buffer.from(list), defaultInspectLimits)).toEqual(["etc/unread.conf", "usr/bin/unread"]);
});

test("a part of a source that was uploaded earlier need not exist locally", async () => {
  const orig = { "twice_1.0.orig.tar.gz": "the original" };
  const first = aDsc({ source: "twice", version: "1.0-1", parts: { ...orig, "twice_1.0-1.debian.tar.xz": "one" } });
  await tree.put(tree.write(first.files).filter((path) => path.endsWith(".dsc")));
  const second = aDsc({ source: "twice", version: "1.0-2", parts: { ...orig, "twice_1.0-2.debian.tar.xz": "two" } });
  const files = new Map([...second.files].filter(([name]) => !(name in orig)));
  expect(await tree.putJson(tree.write(files).filter((path) => path.endsWith(".dsc")))).toMatchObject({
    status: "live",
  });
  expect([...(await (await updated()).source("twice")).keys()]).toContain("twice_1.0.orig.tar.gz");
});

test("a terminal shows a progress bar during uploads, and a pipe does not", async () => {
  const paths = async (n: number) =>
    tree.write(new Map([await namedDeb({ package: `bar${n}`, files: { "./it": randomBytes(4_000_000) } })]));
  expect((await tree.put(await paths(0))).output).not.toContain("uploading");
  const commandLine = [
    process.execPath,
    join(projectRoot, "dist/cli.js"),
    "put",
    "--bundle",
    tree.file,
    ...(await paths(1)),
  ];
  const output = runTool("script", ["-qec", commandLine.join(" "), "/dev/null"], "", "bsdutils").toString();
  expect(output).toMatch(/uploading .*MiB/);
});
