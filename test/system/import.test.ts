// `tahoe-apt import` with repositories of reprepro, aptly, apt-ftparchive and tahoe-apt itself.
import { createHash, randomInt } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import fetch from "node-fetch";
import { afterAll, beforeAll, expect, inject, onTestFinished, test } from "vitest";
import type { TreePath } from "../../src/base/names.ts";
import { joinPath, parseTreePath, rootPath } from "../../src/base/names.ts";
import { defaultInspectLimits } from "../../src/catalog/inspection/inspect-limits.ts";
import { InspectorPool } from "../../src/catalog/inspection/inspector-pool.ts";
import { plainLayout } from "../../src/catalog/layout/repository-layout.ts";
import { GridTarget } from "../../src/client/import/grid-target.ts";
import type { ImportOutcome } from "../../src/client/import/import-outcome.ts";
import { WriteGateways } from "../../src/client/write-gateways.ts";
import { treeOf } from "../../src/commands/shared/run-curation.ts";
import { AptRoot } from "../support/apt.ts";
import { CommandLine, runCommand } from "../support/command-line.ts";
import { aDeb } from "../support/debs.ts";
import type { ForeignPackage, ForeignRepository } from "../support/foreign-repositories.ts";
import {
  aptlyRepository,
  ForeignKey,
  foreignIndex,
  foreignPackages,
  ftparchiveRepository,
  RepreproRepository,
} from "../support/foreign-repositories.ts";
import { InitializedTree } from "../support/initialized-tree.ts";
import { interruptingGateway } from "../support/interrupting-gateway.ts";
import { plainWebServer } from "../support/plain-web-server.ts";
import { ServerUnderTest } from "../support/server.ts";

const work = mkdtempSync(join(tmpdir(), "tahoe-apt-import-"));
const token = "a-token-for-imports";
const { signal } = new AbortController();
let key: ForeignKey;
let packages: readonly ForeignPackage[];
let reprepro: ForeignRepository;

beforeAll(async () => {
  key = new ForeignKey(work);
  packages = await foreignPackages(work);
  reprepro = new RepreproRepository(work, key, packages);
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

/** Runs `tahoe-apt import --json`. */
async function imported(
  source: string,
  ...flags: readonly string[]
): Promise<ImportOutcome & { readonly exitCode: number | null; readonly unmatched: readonly string[] }> {
  const { exitCode, output, printed } = await runCommand(["import", source, "--json", ...flags]);
  try {
    return { ...(JSON.parse(printed) as ImportOutcome & { readonly unmatched: readonly string[] }), exitCode };
  } catch {
    throw new Error(`import ended with ${exitCode}, and printed:\n${output}`);
  }
}

/** A new directory of a test. */
const directoryFor = (name: string): string => mkdtempSync(join(work, `${name}-`));

/** A server of a folder, with its ping settings as flags of the import. */
async function serverOf(folder: string, settings: readonly string[] = []) {
  const own = directoryFor("server");
  writeFileSync(join(own, "token"), token, { mode: 0o600 });
  mkdirSync(join(folder, "dists"), { recursive: true });
  const server = await ServerUnderTest.withRepository(own, [
    `folder = ${JSON.stringify(folder)}`,
    'ping_token_file = "token"',
    "contents = false",
    ...settings,
  ]);
  onTestFinished(async () => void (await server.end()));
  const flags = ["--ping-url", `${server.url}/-/ping/debian`, "--ping-token-file", join(own, "token")];
  const publicKey = async () => await (await fetch(`${server.url}/debian/key.asc`)).text();
  return { server, url: `${server.url}/debian`, flags, publicKey };
}

/** What apt knows of a suite: binaries and sources with versions and digests of their files. */
async function seenByApt(url: string, suite: string, publicKey: string): Promise<readonly string[]> {
  const text = [
    "Types: deb deb-src",
    `URIs: ${url}`,
    `Suites: ${suite}`,
    `Components: ${suite === "bookworm" ? "main contrib" : "main"}`,
    `Signed-By:\n${publicKey
      .trimEnd()
      .split("\n")
      .map((line) => ` ${line === "" ? "." : line}\n`)
      .join("")}`,
  ];
  const apt = new AptRoot({ source: text.join("\n") });
  onTestFinished(() => apt.close());
  await apt.update();
  const binaries = stanzasOf((await apt.run("apt-cache", "dumpavail")).output, "SHA256");
  const names = [...new Set(binaries.map((line) => line.split(" ")[0] ?? ""))];
  const sources = stanzasOf((await apt.run("apt-cache", "showsrc", ...names)).output, "Checksums-Sha256");
  return [...binaries, ...sources].toSorted();
}

function stanzasOf(output: string, digestField: string): readonly string[] {
  return output.split(/\n\n+/).flatMap((stanza) => {
    const field = (name: string) => new RegExp(`^${name}:(.*(?:\n .*)*)`, "m").exec(stanza)?.[1]?.trim();
    const name = field("Package");
    if (name === undefined) return [];
    return [
      `${name} ${field("Version")} ${field("Architecture")} ${field(digestField)?.split(/\s+/).toSorted().join(" ")}`,
    ];
  });
}

/** All files below `dists` with their digests, without the records of imports. */
function filesIn(folder: string): ReadonlyMap<string, string> {
  const dists = join(folder, "dists");
  const names = existsSync(dists) ? (readdirSync(dists, { recursive: true }) as string[]) : [];
  return new Map(
    names
      .filter((name) => !/\/import\.[0-9a-f]+\.json$/.test(name) && statSync(join(dists, name)).isFile())
      .toSorted()
      .map((name) => [
        name,
        createHash("sha256")
          .update(readFileSync(join(dists, name)))
          .digest("hex"),
      ]),
  );
}

test.each([
  ["reprepro", () => reprepro],
  ["aptly", () => aptlyRepository(directoryFor("aptly"), key, packages)],
  ["apt-ftparchive", () => ftparchiveRepository(directoryFor("ftparchive"), key, packages)],
])("apt sees the same packages in a repository of %s and in the folder into which it is imported", async (_, make) => {
  const repository = make();
  const original = await plainWebServer(repository.directory);
  await expectSameAfterImport(repository, repository.directory, original);
});

test("apt sees the same packages in a repository of tahoe-apt and in the folder into which its URL is imported", async () => {
  const folder = directoryFor("folder");
  await imported(reprepro.directory, "--keyring", reprepro.keyring, "--folder", folder);
  const { url, publicKey } = await serverOf(folder);
  const keyring = join(directoryFor("key"), "key.asc");
  writeFileSync(keyring, await publicKey());
  await expectSameAfterImport({ directory: folder, keyring }, url, url, "--suite", "bookworm", "--suite", "trixie");
});

/** Imports all 300 packages into a folder, compares what apt sees of both, and imports again. */
async function expectSameAfterImport(
  { keyring }: ForeignRepository,
  source: string,
  original: string,
  ...more: readonly string[]
): Promise<void> {
  const folder = directoryFor("folder");
  const { url, flags, publicKey } = await serverOf(folder);
  const all = ["--keyring", keyring, "--folder", folder, ...flags, ...more];
  const outcome = await imported(source, ...all);
  expect(outcome).toMatchObject({ exitCode: 0, status: "live", problems: [] });
  expect(outcome.packages).toHaveLength(300);
  const ours = await publicKey();
  for (const suite of ["bookworm", "trixie"]) {
    const expected = await seenByApt(original, suite, readFileSync(keyring, "utf8"));
    expect(expected.length).toBeGreaterThan(120);
    expect(await seenByApt(url, suite, ours)).toEqual(expected);
  }
  expect(await imported(source, ...all)).toMatchObject({ exitCode: 0, status: "nothing", packages: [], bytes: 0 });
}

test("apt sees the same packages in a repository and in the grid into which its URL is imported", async () => {
  const own = directoryFor("for-grid");
  const { directory, keyring } = ftparchiveRepository(own, key, await foreignPackages(own, 0.12));
  const url = await plainWebServer(directory);
  const tree = await InitializedTree.plant(inject("webapiUrl"), []);
  onTestFinished(() => tree.close());
  const { ping, gateways } = tree.bundle;
  const master = { name: "master", gateways, ping, directories: [{ path: rootPath, cap: tree.root }] };
  const flags = ["--keyring", keyring, "--bundle", tree.writeBundle("master.bundle", master)];
  const suites = ["--suite", "bookworm", "--suite", "trixie=testing"];
  const outcome = await imported(url, ...flags, ...suites);
  expect(outcome).toMatchObject({ exitCode: 0, status: "live", problems: [] });
  expect(outcome.suites.map(({ signedBy }) => signedBy)).toEqual([[key.fingerprint], [key.fingerprint]]);
  const ours = await (await fetch(`${tree.server.url}/debian/key.asc`)).text();
  const theirs = readFileSync(keyring, "utf8");
  for (const [suite, target] of [
    ["bookworm", "bookworm"],
    ["trixie", "testing"],
  ] as const) {
    const expected = await seenByApt(url, suite, theirs);
    expect(expected.length).toBeGreaterThan(10);
    expect(await seenByApt(`${tree.server.url}/debian`, target, ours)).toEqual(expected);
  }
  // The lists of files are in the metadata of the links, so that the server need not read the packages for Contents.
  const contents = `${tree.server.url}/debian/dists/testing/main/Contents-amd64.gz`;
  await expect.poll(async () => (await fetch(contents)).status, { timeout: 60_000 }).toBe(200);
  const lines = gunzipSync(Buffer.from(await (await fetch(contents)).arrayBuffer())).toString();
  expect(lines).toContain("usr/share/doc/it/README");
  const metrics = await (await fetch(`${tree.server.url}/metrics`)).text();
  expect(metrics).not.toMatch(/tahoe_apt_inspections_total\{[^}]*source="read"[^}]*\} [1-9]/);
  expect(await imported(url, ...flags, ...suites)).toMatchObject({ exitCode: 0, status: "nothing", bytes: 0 });
});

test("an import into a folder that is killed at any moment publishes no part of a directory, and the next run finishes it", async () => {
  const whole = directoryFor("whole");
  const flags = ["--keyring", reprepro.keyring, "--folder"];
  await imported(reprepro.directory, ...flags, whole);
  const expected = filesIn(whole);
  const perDirectory = countsByDirectory(expected.keys());
  const folder = directoryFor("killed");
  const staged = join(folder, ".tahoe-apt-import/files");
  const countIn = (directory: string): number => (existsSync(directory) ? readdirSync(directory).length : 0);
  let kills = 0;
  for (const isReached of [
    ...[randomInt(1, 80), randomInt(80, 200), randomInt(200, 300)].map((count) => () => countIn(staged) >= count),
    // Some directories are published, others not yet.
    () => countIn(join(folder, "dists/bookworm/main")) >= randomInt(1, 4),
  ]) {
    const command = new CommandLine(["import", reprepro.directory, ...flags, folder]);
    const exitCode = command.ends();
    while (command.child.exitCode === null && !isReached()) await new Promise((resolve) => setImmediate(resolve));
    command.child.kill("SIGKILL");
    if ((await exitCode) === null) kills++;
    const found = filesIn(folder);
    for (const [name, digest] of found) expect(digest, name).toBe(expected.get(name));
    for (const [directory, count] of countsByDirectory(found.keys())) expect(count).toBe(perDirectory.get(directory));
  }
  expect(kills).toBeGreaterThan(2);
  expect((await imported(reprepro.directory, ...flags, folder)).exitCode).toBe(0);
  expect(filesIn(folder)).toEqual(expected);
  expect(readdirSync(join(folder, ".tahoe-apt-import")).filter((name) => !name.startsWith("."))).toEqual([]);
});

const countsByDirectory = (names: Iterable<string>): ReadonlyMap<string, number> => {
  const counts = new Map<string, number>();
  for (const name of names) {
    const directory = name.slice(0, name.lastIndexOf("/"));
    counts.set(directory, (counts.get(directory) ?? 0) + 1);
  }
  return counts;
};

test("an import into a grid that is killed at any request links all packages of a directory or none, and the next run finishes it", async () => {
  const small = await foreignPackages(directoryFor("small"), 0.05);
  const repository = new RepreproRepository(directoryFor("repository"), key, small);
  const gateway = await interruptingGateway(inject("webapiUrl"));
  onTestFinished(() => gateway.end());
  const tree = await InitializedTree.plant(inject("webapiUrl"), []);
  onTestFinished(() => tree.close());
  const directories = [{ path: rootPath, cap: tree.root }];
  const master = { name: "master", gateways: [gateway.url], ping: undefined, directories };
  const flags = ["--keyring", repository.keyring, "--bundle", tree.writeBundle("killed.bundle", master)];
  const counts = new Map(
    ["main/binary-all", "main/binary-amd64", "main/source"].map((place) => [
      place,
      small.filter(({ suite, component, file }) => `${suite}/${component}/${kindOf(file)}` === `bookworm/${place}`)
        .length,
    ]),
  );
  const linkedIn = async (place: string): Promise<number> => {
    const path = parseTreePath(`dists/bookworm/${place}`);
    const cap = await tree.writer.directoryAt(tree.root, path, signal);
    const names = cap === undefined ? [] : [...(await tree.writer.list(cap, signal)).keys()];
    return names.filter((name) => /\.(deb|dsc)$/.test(name)).length;
  };
  for (let number = randomInt(2, 10); ; number += randomInt(8, 24)) {
    const command = new CommandLine(["import", repository.directory, ...flags]);
    gateway.at(number, randomInt(2) === 0 ? "before" : "after", () => void command.child.kill("SIGKILL"));
    const exitCode = await command.ends();
    for (const [place, count] of counts) expect([0, count], place).toContain(await linkedIn(place));
    if (exitCode === 0) break;
    expect(exitCode, command.output).toBeNull();
  }
  for (const [place, count] of counts) expect(await linkedIn(place), place).toBe(count);
  expect(await imported(repository.directory, ...flags)).toMatchObject({ exitCode: 0, status: "nothing" });
});

test("a missing directory of a grid is created without a wait, and what another upload has linked there meanwhile stays", async () => {
  const tree = await InitializedTree.plant(inject("webapiUrl"), []);
  onTestFinished(() => tree.close());
  const bundle = { ...tree.bundle, directories: [{ path: rootPath, cap: tree.root }], ping: undefined };
  const notes: string[] = [];
  const target = new GridTarget({
    bundle,
    gateways: new WriteGateways(bundle.gateways),
    tree: treeOf(bundle),
    layout: plainLayout,
    subdirectory: undefined,
    pool: new InspectorPool({ limits: defaultInspectLimits, algorithms: [] }),
    clock: Date.now,
    signal,
    note: (text) => notes.push(text),
  });
  const recordName = "import.0123456789abcdef.json";
  const identity = { origin: "", label: "", suite: "sid", codename: "sid" };
  const record = { dateMs: Date.now(), identity, files: new Map() };
  const changeOf = (path: TreePath) => ({ path, added: [], removed: new Map(), recordName, record });
  const namesIn = async (path: TreePath) => {
    const cap = await tree.writer.directoryAt(tree.root, path, signal);
    return cap && [...(await tree.writer.list(cap, signal)).keys()].toSorted();
  };
  const [alone, contested] = ["riscv64", "arm64"].map((each) => parseTreePath(`dists/sid/main/binary-${each}`));
  for (const path of [alone!, contested!]) expect((await target.look(path, recordName)).names.size).toBe(0);

  await target.change([changeOf(alone!)], []);
  expect(await namesIn(alone!)).toEqual([recordName]);
  expect(notes).toEqual([]);

  await tree.writer.put(tree.root, joinPath(contested!, "theirs"), Buffer.from("theirs"), signal);
  await target.change([changeOf(contested!)], []);
  expect(await namesIn(contested!)).toEqual([recordName, "theirs"]);
  expect(notes).toEqual([expect.stringContaining(`${contested} is new: waiting`)]);
});

const kindOf = (file: string): string =>
  file.endsWith(".dsc") ? "source" : `binary-${/_([^_]+)\.deb$/.exec(file)?.[1]}`;

test("an import follows an upstream through ten changes: what is new comes, and what went away goes", async () => {
  const own = directoryFor("upstream");
  const upstream = new RepreproRepository(own, key, await foreignPackages(own, 0.1));
  const folder = directoryFor("folder");
  const { url, flags: ping } = await serverOf(folder);
  const flags = ["--keyring", upstream.keyring, "--folder", folder, "--delete", ...ping];
  const listed = async (text: string): Promise<readonly string[]> => {
    const field = (name: string, stanza: string) => new RegExp(`^${name}: (.*)$`, "m").exec(stanza)?.[1];
    return text
      .split(/\n\n+/)
      .filter((stanza) => stanza.startsWith("Package:"))
      .map((stanza) => `${field("Package", stanza)} ${field("Version", stanza)} ${field("SHA256", stanza)}`)
      .toSorted();
  };
  await imported(upstream.directory, ...flags);
  const newDeb = async (name: string, version: string): Promise<ForeignPackage> => {
    const file = join(own, `${name}_${version}_amd64.deb`);
    const fields = { Section: "utils", Priority: "optional" };
    writeFileSync(file, await aDeb({ package: name, version, architecture: "amd64", fields }));
    return { suite: "trixie", component: "main", file };
  };
  for (let change = 1; change <= 10; change++) {
    // reprepro keeps one version of each name, so a newer one removes its predecessor.
    const added = [await newDeb(`new-${change}`, "1.0"), await newDeb("main-tool-0", `3.0-${change}`)];
    upstream.add(change % 3 === 0 ? added.slice(1) : added);
    if (change % 2 === 0) upstream.remove("trixie", `main-tool-${change / 2}`);
    const { exitCode, status, packages: came, removed } = await imported(upstream.directory, ...flags);
    expect({ exitCode, status }).toEqual({ exitCode: 0, status: "live" });
    expect(came.map(({ name }) => name).toSorted()).toEqual(
      (change % 3 === 0 ? ["main-tool-0"] : ["main-tool-0", `new-${change}`]).toSorted(),
    );
    expect(removed.map(({ name }) => name).toSorted()).toEqual(
      (change % 2 === 0 ? ["main-tool-0", `main-tool-${change / 2}`] : ["main-tool-0"]).toSorted(),
    );
    const index = "trixie/main/binary-amd64/Packages";
    const served = await (await fetch(`${url}/dists/${index}`)).text();
    expect(await listed(served)).toEqual(await listed(foreignIndex(upstream, index)));
  }
});

test("without --delete, what went away upstream stays, and is counted", async () => {
  const own = directoryFor("upstream");
  const upstream = new RepreproRepository(own, key, await foreignPackages(own, 0.02));
  const folder = directoryFor("folder");
  const flags = ["--keyring", upstream.keyring, "--folder", folder];
  await imported(upstream.directory, ...flags);
  const before = filesIn(folder);
  upstream.remove("trixie", "main-tool-0");
  const outcome = await imported(upstream.directory, ...flags);
  expect(outcome).toMatchObject({ exitCode: 0, status: "nothing", removed: [] });
  expect(outcome.gone.map(({ name, version }) => `${name} ${version}`)).toContain("main-tool-0 2.0-1");
  expect(filesIn(folder)).toEqual(before);
  const planned = await imported(upstream.directory, ...flags, "--delete", "--dry-run");
  expect(planned.removed.map(({ name }) => name)).toContain("main-tool-0");
  expect(filesIn(folder)).toEqual(before);
});

test("what was in the directory before the import, or came by other ways, is not removed", async () => {
  const own = directoryFor("upstream");
  const upstream = new RepreproRepository(own, key, await foreignPackages(own, 0.02));
  const folder = directoryFor("folder");
  const place = join(folder, "dists/trixie/main/binary-amd64");
  mkdirSync(place, { recursive: true });
  // The same bytes as upstream's, and a package that upstream never had.
  const same = "main-tool-0_2.0-1_amd64.deb";
  cpSync(join(own, "made/trixie/main", same), join(place, same));
  writeFileSync(join(place, "ours_1_amd64.deb"), await aDeb({ package: "ours", version: "1", architecture: "amd64" }));
  const flags = ["--keyring", upstream.keyring, "--folder", folder, "--delete"];
  await imported(upstream.directory, ...flags);
  upstream.remove("trixie", "main-tool-0");
  upstream.remove("trixie", "main-tool-1");
  const { removed } = await imported(upstream.directory, ...flags);
  expect(removed.map(({ path }) => path)).toContain("dists/trixie/main/binary-amd64/main-tool-1_2.0-1_amd64.deb");
  const left = readdirSync(place);
  expect(left).toContain(same);
  expect(left).toContain("ours_1_amd64.deb");
  expect(left).not.toContain("main-tool-1_2.0-1_amd64.deb");
});

test("suites, components, architectures and patterns choose what is imported, and a dry run tells it without a change", async () => {
  const folder = directoryFor("folder");
  const flags = [
    "--keyring",
    reprepro.keyring,
    "--folder",
    folder,
    "--suite",
    "bookworm=stable",
    "--component",
    "main",
  ];
  const chosen = ["--architecture", "source", "--architecture", "arm64", "--package", "src:main-tool-1*"];
  const planned = await imported(reprepro.directory, ...flags, ...chosen, "--dry-run");
  expect(planned).toMatchObject({ exitCode: 0, status: "planned" });
  expect(filesIn(folder).size).toBe(0);
  const done = await imported(reprepro.directory, ...flags, ...chosen, "--package", "nobody-*");
  expect(done.unmatched).toEqual(["nobody-*"]);
  expect(done.packages.map(({ path }) => path)).toEqual(planned.packages.map(({ path }) => path));
  const names = [...filesIn(folder).keys()].filter((name) => /\.(deb|dsc)$/.test(name));
  expect(new Set(names.map((name) => name.slice(0, name.lastIndexOf("/"))))).toEqual(
    new Set(["stable/main/source", "stable/main/binary-arm64"]),
  );
  expect(names).toContain("stable/main/source/main-tool-11_1.0-1.dsc");
  expect(names).toContain("stable/main/binary-arm64/main-tool-1_1.0-1_arm64.deb");
  expect(names.every((name) => /\/main-tool-1\d*_/.test(name))).toBe(true);
});
