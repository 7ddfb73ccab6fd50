// What `tahoe-apt import` refuses: each kind of bad input is named, the exit code says it, and the tree is unchanged.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, inject, onTestFinished, test } from "vitest";
import { rootPath } from "../../src/base/names.ts";
import { formatBundle } from "../../src/client/bundle.ts";
import type { ImportOutcome } from "../../src/client/import/import-outcome.ts";
import { startGrid } from "../../src/local/grid/grid.ts";
import { Webapi } from "../../src/storage/tahoe/webapi.ts";
import { WebapiWriter } from "../../src/storage/tahoe/webapi-writer.ts";
import { runCommand } from "../support/command-line.ts";
import { aDeb } from "../support/debs.ts";
import { ForeignKey, foreignPackages, ftparchiveRepository, signedRelease } from "../support/foreign-repositories.ts";
import { projectRoot } from "../support/project-files.ts";
import { ServerUnderTest } from "../support/server.ts";

const work = mkdtempSync(join(tmpdir(), "tahoe-apt-refusals-"));
const { signal } = new AbortController();
const suite = "trixie";
const pool = `pool/${suite}/main`;
const index = `dists/${suite}/main/binary-amd64/Packages`;
const expiredFields = { "Valid-Until": "Sat, 01 Jan 2022 00:00:00 UTC" };
let key: ForeignKey;
let original: string;
/** The repository of one test, which it may change. */
let source: string;
let folder: string;

beforeAll(async () => {
  key = new ForeignKey(work);
  const packages = (await foreignPackages(work, 0.03)).filter((one) => one.suite === suite);
  original = ftparchiveRepository(work, key, packages).directory;
});
beforeEach(() => {
  source = mkdtempSync(join(work, "source-"));
  folder = mkdtempSync(join(work, "folder-"));
  cpSync(original, source, { recursive: true });
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

async function imported(
  ...flags: readonly string[]
): Promise<
  ImportOutcome & { readonly exitCode: number | null; readonly code?: string; readonly errors?: readonly string[] }
> {
  const trust = flags.includes("--allow-unsigned") || flags.includes("--keyring") ? [] : ["--keyring", key.keyring];
  const target = flags.some((flag) => flag === "--folder" || flag === "--bundle") ? [] : ["--folder", folder];
  const { exitCode, output, printed } = await runCommand(["import", source, "--json", ...trust, ...target, ...flags]);
  try {
    return { ...(JSON.parse(printed) as ImportOutcome), exitCode };
  } catch {
    throw new Error(`import ended with ${exitCode}, and printed:\n${output}`);
  }
}

const publishedFiles = (): readonly string[] =>
  existsSync(join(folder, "dists"))
    ? (readdirSync(join(folder, "dists"), { recursive: true }) as string[]).filter((name) =>
        /\.(deb|dsc|json)$/.test(name),
      )
    : [];

/** Makes the indices of the repository again, as its publisher would, and signs them. */
function publishAgain(fields: { readonly [name: string]: string } = {}): void {
  for (const architecture of ["amd64", "arm64"]) {
    const args = ["--arch", architecture, "packages", pool];
    const text = execFileSync("apt-ftparchive", args, { cwd: source, stdio: ["ignore", "pipe", "ignore"] });
    replaceIndex(`dists/${suite}/main/binary-${architecture}/Packages`, text.toString(), fields);
  }
}

/** Replaces an index, and signs the Release again. */
function replaceIndex(path: string, text: string, fields: { readonly [name: string]: string } = {}): void {
  rmSync(join(source, `${path}.gz`), { force: true });
  writeFileSync(join(source, path), text);
  signedRelease(source, suite, key, ["main"], fields);
}

test("an import of the repository succeeds as long as nothing is wrong with it", async () => {
  expect(await imported()).toMatchObject({ exitCode: 0, status: "linked", problems: [] });
  expect(publishedFiles().length).toBeGreaterThan(4);
});

test.each<readonly [string, string, RegExp, () => void]>([
  [
    "a changed InRelease",
    "upstream/bad-signature",
    /dists\/trixie\/InRelease.*no key of the keyring has signed it/,
    () => {
      const file = join(source, "dists", suite, "InRelease");
      writeFileSync(file, readFileSync(file, "utf8").replace("Label: Foreign", "Label: Forged"));
    },
  ],
  [
    "a Release without a signature",
    "upstream/bad-signature",
    /Release: it has no signature.*--allow-unsigned/,
    () => rmSync(join(source, "dists", suite, "InRelease")),
  ],
  [
    "a Release with the Release.gpg of another one",
    "upstream/bad-signature",
    /Release\.gpg: no key of the keyring/,
    () => {
      const dists = join(source, "dists", suite);
      key.sign(dists, "Release.gpg");
      rmSync(join(dists, "InRelease"));
      appendFileSync(join(dists, "Release"), "Origin-Of-More: nowhere\n");
    },
  ],
  [
    "an expired Release",
    "upstream/expired",
    /InRelease: it expired on Sat, 01 Jan 2022.*--allow-expired/,
    () => signedRelease(source, suite, key, ["main"], expiredFields),
  ],
  [
    "an index that differs from the Release",
    "upstream/mismatch",
    /binary-amd64\/Packages: its size or SHA256 differs/,
    () => appendFileSync(join(source, index), "\n"),
  ],
  [
    "an index that is not there",
    "upstream/absent",
    /binary-amd64\/Packages.*the Release lists this index/,
    () => rmSync(join(source, `dists/${suite}/main/binary-amd64`), { recursive: true }),
  ],
  [
    "a package that differs from the index in its bytes",
    "upstream/mismatch",
    /main-tool-1_2\.0-1_amd64\.deb: its size or SHA256 differs/,
    () => {
      const file = join(source, pool, "main-tool-1_2.0-1_amd64.deb");
      const bytes = readFileSync(file);
      bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
      writeFileSync(file, bytes);
    },
  ],
  [
    "a package that differs from the index and is broken",
    "upstream/mismatch",
    /main-tool-1_2\.0-1_amd64\.deb: its size or SHA256 differs/,
    () => writeFileSync(join(source, pool, "main-tool-1_2.0-1_amd64.deb"), "no package"),
  ],
  [
    "a listed package that is not there",
    "upstream/absent",
    /main-tool-0_2\.0-1_amd64\.deb: an index lists this file, but it is not there/,
    () => rmSync(join(source, pool, "main-tool-0_2.0-1_amd64.deb")),
  ],
  [
    "a package that is a link out of the source",
    "upstream/outside",
    /main-tool-0_2\.0-1_amd64\.deb: it is a symbolic link/,
    () => {
      const file = join(source, pool, "main-tool-0_2.0-1_amd64.deb");
      const outside = join(mkdtempSync(join(work, "outside-")), "it.deb");
      renameSync(file, outside);
      symlinkSync(outside, file);
    },
  ],
  [
    "a Release of another suite",
    "upstream/other-suite",
    /InRelease: its Suite is "" and its Codename "sid".*--allow-other-suite/,
    () => signedRelease(source, suite, key, ["main"], {}, "sid"),
  ],
  [
    "text before the signed message",
    "upstream/bad-signature",
    /InRelease: .*text before or after/,
    () => {
      const file = join(source, "dists", suite, "InRelease");
      writeFileSync(file, `Origin: Forged\n\n${readFileSync(file, "utf8")}`);
    },
  ],
  [
    "text after the signed message",
    "upstream/bad-signature",
    /InRelease: .*text before or after/,
    () => appendFileSync(join(source, "dists", suite, "InRelease"), "Origin: Forged\n"),
  ],
  [
    "a package that is a named pipe",
    "upstream/outside",
    /main-tool-0_2\.0-1_amd64\.deb: it is neither a file nor a directory/,
    () => {
      const file = join(source, pool, "main-tool-0_2.0-1_amd64.deb");
      rmSync(file);
      execFileSync("mkfifo", [file]);
    },
  ],
  [
    "a suite that is not there",
    "upstream/absent",
    /dists\/trixie\/InRelease: there is neither InRelease nor Release/,
    () => rmSync(join(source, "dists", suite), { recursive: true }),
  ],
])("%s is refused with exit code 3, and nothing is published", async (_, code, text, spoil) => {
  spoil();
  const outcome = await imported("--suite", suite);
  expect(outcome).toMatchObject({ exitCode: 3, status: "refused" });
  expect(outcome.problems.map((problem) => problem.code)).toContain(code);
  expect(outcome.problems.map(({ file, reason }) => `${file}: ${reason}`).join("\n")).toMatch(text);
  expect(outcome.packages.filter(({ state }) => state === "linked")).toEqual([]);
  expect(publishedFiles()).toEqual([]);
});

test("a Release that another key has signed is refused, and one without a signature is accepted on request only", async () => {
  const other = new ForeignKey(mkdtempSync(join(work, "other-")));
  const refused = await imported("--keyring", other.keyring);
  expect(refused).toMatchObject({ exitCode: 3, problems: [{ code: "upstream/bad-signature" }] });
  expect(publishedFiles()).toEqual([]);
  expect(await imported("--allow-unsigned")).toMatchObject({ exitCode: 0, suites: [{ signedBy: [] }] });
});

test("an expired Release is accepted on request", async () => {
  signedRelease(source, suite, key, ["main"], expiredFields);
  expect(await imported("--allow-expired")).toMatchObject({ exitCode: 0, status: "linked" });
});

test("a Release that is older than the last imported one is refused unless it is accepted on request", async () => {
  const old = mkdtempSync(join(work, "old-"));
  cpSync(source, old, { recursive: true });
  await expect.poll(() => Math.floor(Date.now() / 1000)).toBeGreaterThan(dateOf(old));
  writeFileSync(
    join(source, pool, "newer_1_amd64.deb"),
    await aDeb({ package: "newer", version: "1", architecture: "amd64" }),
  );
  publishAgain();
  await imported();
  source = old;
  const refused = await imported();
  expect(refused).toMatchObject({ exitCode: 3, status: "refused", problems: [{ code: "upstream/older" }] });
  expect(refused.problems[0]?.reason).toMatch(/is before that of the last import.*--allow-older/);
  expect(await imported("--allow-older")).toMatchObject({ exitCode: 0 });
});

const dateOf = (directory: string): number =>
  Date.parse(/^Date: (.*)$/m.exec(readFileSync(join(directory, "dists", suite, "Release"), "utf8"))?.[1] ?? "") / 1000;

test("a package that the server would reject is named and left out, and the others are imported", async () => {
  const broken = join(source, pool, "broken_1_amd64.deb");
  writeFileSync(
    broken,
    await aDeb({ package: "broken", version: "1", architecture: "amd64", fields: { Depends: "a (>> " } }),
  );
  publishAgain();
  const planned = await imported("--dry-run");
  expect(planned).toMatchObject({ exitCode: 3, status: "planned" });
  expect(publishedFiles()).toEqual([]);
  const outcome = await imported();
  expect(outcome).toMatchObject({ exitCode: 3, status: "rejected", problems: [] });
  const rejected = outcome.packages.filter(({ state }) => state === "rejected");
  expect(rejected).toMatchObject([
    { name: "broken", version: "1", code: "bad-control", reason: expect.stringMatching(/Depends/) },
  ]);
  expect(planned.packages.filter(({ state }) => state === "rejected")).toEqual(rejected);
  expect(publishedFiles().some((name) => name.includes("broken"))).toBe(false);
  expect(publishedFiles().some((name) => name.includes("main-tool-0"))).toBe(true);
});

test.each([
  ["leaves the repository", (path: string) => path.replace("pool/", "../../etc/"), /not inside the repository/],
  ["is absolute", (path: string) => path.replace("pool/", "/etc/"), /not inside the repository/],
  ["is not a package's", (path: string) => `${path}.html`, /not that of a \.deb/],
])("a path in the index that %s rejects the package", async (_, spoil, reason) => {
  const text = readFileSync(join(source, index), "utf8");
  let isFirst = true;
  replaceIndex(
    index,
    text.replaceAll(/^Filename: (.*)$/gm, (line, path: string) => {
      const changed = isFirst ? `Filename: ${spoil(path)}` : line;
      isFirst = false;
      return changed;
    }),
  );
  const outcome = await imported();
  expect(outcome).toMatchObject({ exitCode: 3, status: "rejected" });
  const rejected = outcome.packages.filter(({ state }) => state === "rejected");
  expect(rejected).toHaveLength(1);
  expect(rejected[0]?.reason).toMatch(reason);
});

test("a package whose control differs from the index is rejected, so that patterns cannot be deceived", async () => {
  replaceIndex(
    index,
    readFileSync(join(source, index), "utf8").replace("Package: main-tool-0\n", "Package: harmless\n"),
  );
  const outcome = await imported("--package", "harmless");
  expect(outcome).toMatchObject({ exitCode: 3, packages: [{ name: "harmless", state: "rejected", code: "mismatch" }] });
});

test("a file that only the index lists for a source package, and not its .dsc, does not come into the tree", async () => {
  const sources = `dists/${suite}/main/source/Sources`;
  const name = `import.${"0".repeat(16)}.json`;
  writeFileSync(join(source, pool, name), "{}");
  const digest = createHash("sha256").update("{}").digest("hex");
  const text = readFileSync(join(source, sources), "utf8");
  replaceIndex(
    sources,
    text.replace(/^Checksums-Sha256:.*\n/m, (line) => `${line} ${digest} 2 ${name}\n`),
  );
  const outcome = await imported("--architecture", "source");
  expect(outcome).toMatchObject({ exitCode: 3, packages: [{ state: "rejected", code: "mismatch" }] });
  expect(outcome.packages[0]?.reason).toMatch(/list of files differs/);
  expect(publishedFiles()).toEqual([]);
});

test("an index in a builder's directory, or for another suite of the tree, brings nothing there", async () => {
  const text = readFileSync(join(source, index), "utf8");
  const other = `dists/${suite}/main/binary-amd64/alice/binary-amd64`;
  for (const directory of [other, `dists/${suite}/main/binary-amd64/alice`]) {
    mkdirSync(join(source, directory), { recursive: true });
    replaceIndex(`${directory}/Packages`, text.replaceAll("Package: main-tool-", "Package: forged-"));
  }
  const outcome = await imported();
  expect(outcome).toMatchObject({ exitCode: 0 });
  expect(outcome.packages.filter(({ name }) => name.startsWith("forged"))).toEqual([]);
  expect(publishedFiles().join("\n")).not.toContain("alice");
  mkdirSync(join(source, `dists/${suite}/updates/main/binary-amd64`), { recursive: true });
  replaceIndex(`dists/${suite}/updates/main/binary-amd64/Packages`, text);
  cpSync(join(source, "dists", suite), join(source, "dists/second"), { recursive: true });
  const suites = ["--suite", suite, "--suite", `second=${suite}/updates`, "--allow-other-suite"];
  const refused = await imported(...suites);
  expect(refused).toMatchObject({ exitCode: 3, status: "refused", problems: [{ file: `${suite}/updates/main` }] });
  expect(refused.problems[0]?.reason).toMatch(/is in the suite trixie\/updates of the tree.*--component/);
});

test.each([
  ["--component", "mian", /no chosen suite has it: they have main$/],
  ["--architecture", "amd46", /no chosen suite has it: they have amd64, arm64/],
])("a misspelt %s is refused, and not taken for nothing to do", async (flag, name, reason) => {
  const outcome = await imported(flag, name);
  expect(outcome).toMatchObject({ exitCode: 3, status: "refused", problems: [{ file: `${flag} ${name}` }] });
  expect(outcome.problems[0]?.reason).toMatch(reason);
});

test("an upstream that becomes oldstable keeps its record, so that an older Release is refused and --delete removes", async () => {
  await imported();
  rmSync(join(source, pool, "main-tool-0_2.0-1_amd64.deb"));
  publishAgain({ Suite: "oldstable" });
  const outcome = await imported("--delete");
  expect(outcome).toMatchObject({ exitCode: 0, removed: [{ name: "main-tool-0", architecture: "amd64" }] });
});

test("of two repositories without names in one folder, neither removes what the other has brought", async () => {
  const without = (directory: string) => {
    const dists = join(directory, "dists", suite);
    const release = readFileSync(join(dists, "Release"), "utf8");
    writeFileSync(join(dists, "Release"), release.replace(/^Origin:.*\n/m, "").replace(/^Label:.*\n/m, ""));
    key.sign(dists);
  };
  without(source);
  const first = await imported();
  source = mkdtempSync(join(work, "source-"));
  cpSync(original, source, { recursive: true });
  for (const name of readdirSync(join(source, pool))) rmSync(join(source, pool, name));
  const bytes = await aDeb({ package: "second", version: "1", architecture: "amd64" });
  writeFileSync(join(source, pool, "second_1_amd64.deb"), bytes);
  rmSync(join(source, `dists/${suite}/main/source`), { recursive: true });
  publishAgain();
  without(source);
  expect(await imported("--delete")).toMatchObject({ exitCode: 0, removed: [], packages: [{ name: "second" }] });
  expect(publishedFiles().filter((name) => name.endsWith(".deb")).length).toBeGreaterThan(first.packages.length / 2);
});

test("a keyring whose keys have expired is refused", async () => {
  const home = mkdtempSync(join(work, "expired-"));
  const gpg = ["--batch", "--passphrase", "", "--homedir", home, "--faked-system-time", "20200101T000000!"];
  execFileSync("gpg", [...gpg, "--quick-gen-key", "Past", "ed25519", "sign", "1d"], { stdio: "ignore" });
  const keyring = join(home, "past.gpg");
  execFileSync("gpg", [...gpg, "--export", "--output", keyring], { stdio: "ignore" });
  const outcome = await imported("--keyring", keyring);
  expect(outcome).toMatchObject({ exitCode: 2, status: "failed" });
  expect(outcome.errors?.join("\n")).toMatch(/all keys have expired/);
});

test("another file under the same name is not overwritten unless asked for", async () => {
  await imported();
  const name = "main-tool-0_2.0-1_amd64.deb";
  const published = join(folder, `dists/${suite}/main/binary-amd64`, name);
  const before = readFileSync(published);
  const bytes = await aDeb({
    package: "main-tool-0",
    version: "2.0-1",
    architecture: "amd64",
    files: { "./other": "" },
  });
  writeFileSync(join(source, pool, name), bytes);
  publishAgain();
  const outcome = await imported();
  expect(outcome).toMatchObject({ exitCode: 3, packages: [{ state: "rejected", code: "conflict" }] });
  expect(readFileSync(published)).toEqual(before);
  expect(await imported("--replace")).toMatchObject({ exitCode: 0 });
  expect(readFileSync(published)).toEqual(bytes);
});

test("a full disk is named, nothing is published, and the same command finishes the import when there is room", async () => {
  const disk = mkdtempSync(join(work, "disk-"));
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k", "none", disk]);
  onTestFinished(() => void execFileSync("umount", ["-l", disk]));
  for (let n = 0; n < 40; n++) {
    const deb = await aDeb({
      package: `large-${n}`,
      version: "1",
      architecture: "amd64",
      files: { "./a": Buffer.alloc(9000, n) },
      compression: "none",
    });
    writeFileSync(join(source, pool, `large-${n}_1_amd64.deb`), deb);
  }
  publishAgain();
  folder = disk;
  const outcome = await imported();
  expect(outcome).toMatchObject({ exitCode: 1, status: "failed", code: "storage/full", linked: "none" });
  expect(outcome.errors?.join("\n")).toMatch(/no space is left.*run the same command again/);
  expect(publishedFiles()).toEqual([]);
  execFileSync("mount", ["-o", "remount,size=16m", disk]);
  expect(await imported()).toMatchObject({ exitCode: 0, status: "linked" });
});

test("a grid that is full is named, nothing is linked, and the same command finishes the import when there is room", async () => {
  const directory = mkdtempSync(join(work, "grid-"));
  const options = { directory, tahoe: { executable: inject("tahoe") }, progress: () => {}, signal };
  let grid = await startGrid(options);
  onTestFinished(() => grid.stop());
  const writer = new WebapiWriter(new Webapi(grid.webapiUrl));
  const root = await writer.createDirectory(signal);
  const directories = [{ path: rootPath, cap: root }];
  const bundle = join(directory, "master.bundle");
  const text = formatBundle({ name: "master", gateways: [grid.webapiUrl], directories, ping: undefined });
  writeFileSync(bundle, text.reveal(), { mode: 0o600 });
  const withSettings = async (change: (settings: string) => string): Promise<void> => {
    await grid.stop();
    const file = join(grid.nodeDirectory, "tahoe.cfg");
    writeFileSync(file, change(readFileSync(file, "utf8")));
    grid = await startGrid(options);
  };
  // More than any disk has: the storage server takes no more shares.
  await withSettings((settings) => settings.replace(/^reserved_space = .*/m, "reserved_space = 1000000T"));
  const outcome = await imported("--keyring", key.keyring, "--bundle", bundle);
  expect(outcome).toMatchObject({ exitCode: 1, status: "failed", code: "storage/unavailable", linked: "none" });
  expect(outcome.errors?.join("\n")).toMatch(/storage servers take it, because they are full/);
  expect(outcome.errors?.join("\n")).not.toContain("URI:");
  expect((await writer.list(root, signal)).size).toBe(0);
  await withSettings((settings) => settings.replace(/^reserved_space = .*/m, "reserved_space = 1G"));
  expect(await imported("--keyring", key.keyring, "--bundle", bundle)).toMatchObject({ exitCode: 0, status: "linked" });
});

test("a name that another builder owns is named when the server has answered the ping", async () => {
  const own = mkdtempSync(join(work, "server-"));
  writeFileSync(join(own, "token"), "a-token-for-imports", { mode: 0o600 });
  writeFileSync(join(own, "alice.token"), "a-token-for-alice", { mode: 0o600 });
  mkdirSync(join(folder, `dists/${suite}/main/binary-amd64/alice`), { recursive: true });
  const server = await ServerUnderTest.withRepository(own, [
    `folder = ${JSON.stringify(folder)}`,
    'ping_token_file = "token"',
    "[[repository.builder]]",
    'name = "alice"',
    'token_file = "alice.token"',
    `directory = "dists/${suite}/main/binary-amd64/alice"`,
    'packages = ["main-tool-0"]',
  ]);
  onTestFinished(async () => void (await server.end()));
  const ping = ["--ping-url", `${server.url}/-/ping/debian`, "--ping-token-file", join(own, "token")];
  const outcome = await imported("--to-builder", "upstream", ...ping);
  expect(outcome).toMatchObject({ exitCode: 3, status: "rejected" });
  const owned = outcome.packages.filter(({ state }) => state === "rejected");
  expect(owned.map(({ name }) => name)).toContain("main-tool-0");
  expect(owned.map(({ code }) => code)).toContain("not-owner");
  expect(outcome.packages.filter(({ state }) => state === "live").length).toBeGreaterThan(2);
});

test.each([
  [["--folder", "/nonexistent", "--bundle", "x"], /one of --folder and --bundle/],
  [["--allow-unsigned", "--keyring", "x"], /contradicts/],
  [["--suite", "a=b=c"], /NAME or NAME=TARGET/],
  [["--suite", "../x"], /not a suite name/],
  [["--suite", "./"], /needs a target/],
  [["--to-builder", "../x"], /--to-builder/],
  [["--ping-url", "http://localhost/"], /together/],
])("wrong arguments have exit code 2: %j", async (flags, text) => {
  const outcome = await imported(...flags);
  expect(outcome).toMatchObject({ exitCode: 2, status: "failed" });
  expect(outcome.errors?.join("\n")).toMatch(text);
});

test("a flat repository is imported into the suite that is named for it", async () => {
  const flat = mkdtempSync(join(work, "flat-"));
  mkdirSync(join(flat, "debs"));
  for (const name of readdirSync(join(source, pool))) cpSync(join(source, pool, name), join(flat, "debs", name));
  const index = (...args: readonly string[]) =>
    execFileSync("apt-ftparchive", args, { cwd: flat, stdio: ["ignore", "pipe", "ignore"] });
  writeFileSync(join(flat, "Packages"), index("packages", "debs"));
  writeFileSync(join(flat, "Sources"), index("sources", "debs"));
  const release = index("release", ".");
  writeFileSync(join(flat, "Release"), release);
  key.sign(flat);
  source = flat;
  expect((await imported()).errors?.join("\n")).toMatch(/for a flat repository, give --suite \.\/=SUITE/);
  expect(await imported("--suite", "./=sid")).toMatchObject({ exitCode: 0, status: "linked" });
  expect(publishedFiles()).toContain("sid/main/binary-amd64/main-tool-0_2.0-1_amd64.deb");
  expect(publishedFiles()).toContain("sid/main/binary-all/main-doc-0_2.0-1_all.deb");
  expect(publishedFiles()).toContain("sid/main/source/main-tool-0_2.0-1.dsc");
});

test("on a terminal, the progress has bytes and the time left; in a pipe, it has neither", async () => {
  const folders = [mkdtempSync(join(work, "shown-")), mkdtempSync(join(work, "piped-"))];
  const command = (to: string) =>
    [
      process.execPath,
      join(projectRoot, "dist/cli.js"),
      "import",
      source,
      "--keyring",
      key.keyring,
      "--folder",
      to,
    ].join(" ");
  const [shown, piped] = folders.map((to, at) =>
    execFileSync(
      at === 0 ? "script" : "sh",
      at === 0 ? ["-qec", command(to), "/dev/null"] : ["-c", `${command(to)} 2>&1`],
      {
        encoding: "utf8",
      },
    ),
  );
  expect(shown).toMatch(/importing \d+\.\d\/\d+\.\d MiB, \d+ s left/);
  expect(piped).not.toMatch(/importing \d/);
  expect(piped).toContain("new packages");
});

test("a URL needs the names of suites, and a file: URL is not a source", async () => {
  source = "https://127.0.0.1:9/debian";
  expect((await imported()).errors?.join("\n")).toMatch(/--suite: is required for a URL/);
  source = "file:///etc";
  expect(await imported()).toMatchObject({ exitCode: 2 });
});
