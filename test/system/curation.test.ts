// `tahoe-apt list`, `promote`, `remove` and `prune` on a real grid, and the result in a real apt.
import { afterAll, beforeAll, expect, inject, onTestFinished, test } from "vitest";
import { parseTreePath, rootPath } from "../../src/base/names.ts";
import type { IndexChange } from "../../src/client/curation/index-preview.ts";
import type { AptRoot } from "../support/apt.ts";
import { CommandLine } from "../support/command-line.ts";
import { aDeb, aDsc } from "../support/debs.ts";
import { InitializedTree } from "../support/initialized-tree.ts";

const { signal } = new AbortController();
let tree: InitializedTree;
let master: string;

interface Outcome {
  readonly exitCode: number | null;
  readonly output: string;
  readonly status: string;
  readonly problems: readonly string[];
  readonly changes: readonly IndexChange[];
  readonly unmatched: readonly string[];
}

async function run(
  command: string,
  ...args: readonly string[]
): Promise<{ exitCode: number | null; output: string; printed: string }> {
  const line = new CommandLine([command, "--bundle", master, ...args]);
  const exitCode = await line.ends();
  expect(line.output).not.toMatch(/URI:|URI%3A/);
  return { exitCode, output: line.output, printed: line.printed };
}

async function json(command: string, ...args: readonly string[]): Promise<Outcome> {
  const { exitCode, output, printed } = await run(command, "--json", ...args);
  try {
    return { ...(JSON.parse(printed) as Outcome), exitCode, output };
  } catch {
    throw new Error(`${command} said:\n${output}`);
  }
}

/** The changes of indices in short form: `suite index +package version architecture`. */
const summaryOf = ({ changes }: Outcome): readonly string[] =>
  changes.flatMap(({ suite, index, added, removed }) => [
    ...removed.map((one) => `${suite} ${index} -${one.package} ${one.version} ${one.architecture}`),
    ...added.map((one) => `${suite} ${index} +${one.package} ${one.version} ${one.architecture}`),
  ]);

async function entries(path: string) {
  const cap = await tree.writer.directoryAt(tree.root, parseTreePath(path), signal);
  if (cap === undefined) throw new Error(`there is no ${path}`);
  return await tree.writer.list(cap, signal);
}

const names = async (path: string): Promise<readonly string[]> => [...(await entries(path)).keys()].toSorted();

/** The lines of a directory's change log. */
async function changeLogOf(path: string): Promise<readonly { readonly [key: string]: string }[]> {
  const logs = (await names(path)).filter((name) => name.startsWith("audit."));
  expect(logs).toHaveLength(1);
  const { content } = (await entries(path)).get(logs[0] ?? "") as { readonly content: { reveal(): string } };
  const response = await fetch(`${inject("webapiUrl")}/uri/${encodeURIComponent(content.reveal())}`);
  return (await response.text())
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { readonly [key: string]: string });
}

async function updated(suite: string): Promise<AptRoot> {
  const machine = await tree.apt(suite);
  onTestFinished(() => machine.close());
  await machine.update();
  return machine;
}

const deb = (name: string, version: string, source = name, architecture = "amd64") =>
  aDeb({ package: name, version, architecture, fields: { Source: source } });

async function put(files: ReadonlyMap<string, Uint8Array>): Promise<void> {
  const paths = tree.write(files).filter((path) => /\.(deb|dsc)$/.test(path));
  const { exitCode, output } = await tree.put(paths);
  expect(exitCode, output).toBe(0);
}

beforeAll(async () => {
  tree = await InitializedTree.plant(inject("webapiUrl"));
  master = tree.writeBundle("master.bundle", {
    ...tree.bundle,
    name: "master",
    directories: [{ path: rootPath, cap: tree.root }],
  });
  for (const version of ["1.0-1", "1.10-1", "1.9-1"]) {
    await put(
      new Map([
        ...aDsc({ source: "hello", version, parts: { [`hello_${version}.tar.gz`]: `the source of ${version}` } }).files,
        [`hello_${version}_amd64.deb`, await deb("hello", version)],
        [`hello-data_${version}_all.deb`, await deb("hello-data", version, "hello", "all")],
      ]),
    );
  }
  await put(new Map([["other_1_amd64.deb", await deb("other", "1")]]));
});
afterAll(() => tree?.close());

const alice = "sid/main/binary-amd64/alice";

test("list shows every package file with its directory, by bundle and by read cap, and can be filtered", async () => {
  const all = await run("list");
  expect(all.exitCode).toBe(0);
  expect(all.output.trim().split("\n")).toHaveLength(10);
  expect(all.output).toContain(`hello 1.10-1 amd64 sid main dists/${alice}/hello_1.10-1_amd64.deb\n`);
  const lines = (await run("list", "src:hello=1.9*", "--json")).output.trim().split("\n");
  const listed = lines.map((line) => JSON.parse(line) as { readonly [key: string]: string });
  expect(listed.map((one) => `${one.package} ${one.version} ${one.architecture}`)).toEqual([
    "hello-data 1.9-1 all",
    "hello 1.9-1 amd64",
    "hello 1.9-1 source",
  ]);
  const readCap = ["--webapi", inject("webapiUrl"), "--readcap-file", `${tree.work}/readcap`];
  const reader = new CommandLine(["list", ...readCap, "--architecture", "source", "*=1.0-1"]);
  expect(await reader.ends()).toBe(0);
  expect(reader.output).toMatch(/^hello 1\.0-1 source sid main dists\/\S+\.dsc\n$/);
});

test("a dry run shows the change of each index, and changes nothing", async () => {
  const flags = ["--from", "sid", "--to", "stable", "--new-suite", "--dry-run", "src:hello=1.10-1"];
  const planned = await json("promote", ...flags);
  expect(planned).toMatchObject({ exitCode: 0, status: "planned" });
  expect(summaryOf(planned)).toEqual([
    "stable main/binary-amd64 +hello 1.10-1 amd64",
    "stable main/binary-amd64 +hello-data 1.10-1 all",
    "stable main/source +hello 1.10-1 source",
  ]);
  expect((await run("promote", ...flags)).output).toContain("stable main/source:\n  + hello 1.10-1 source\n");
  expect(await names("dists")).toEqual(["sid"]);
});

test("a mistyped suite or package is rejected with exit code 3, and nothing is changed", async () => {
  const unknown = await json("promote", "--from", "sid", "--to", "stabel", "hello=1.10-1", "nobody");
  expect(unknown).toMatchObject({ exitCode: 3, status: "refused" });
  expect(unknown.problems).toEqual(["nothing matches nobody", "there is no suite stabel: --new-suite creates it"]);
  expect(await names("dists")).toEqual(["sid"]);
  expect((await run("promote", "--from", "sid", "--to", "a//b", "hello")).exitCode).toBe(2);
  const mistyped = ["--suite", "sdi"];
  for (const outcome of [await json("remove", "hello", ...mistyped), await json("prune", "--keep", "3", ...mistyped)]) {
    expect(outcome.problems).toEqual(["there is no suite sdi"]);
  }
  expect(await run("list", ...mistyped)).toMatchObject({ exitCode: 2 });
});

test("binaries and sources that are promoted to another suite are installable from there, and no bytes were copied", async () => {
  const flags = ["--from", "sid", "--to", "stable", "--new-suite", "src:hello=1.10-1"];
  const done = await json("promote", ...flags);
  expect(done).toMatchObject({ exitCode: 0, status: "done" });
  const [before, after] = [await entries(`dists/${alice}`), await entries("dists/stable/main/binary-amd64/alice")];
  const name = "hello_1.10-1_amd64.deb";
  const linked = (map: typeof before) => map.get(name) as { readonly content: { key: string }; metadata: object };
  expect(linked(after).content.key).toBe(linked(before).content.key);
  expect(linked(after).metadata).toEqual(linked(before).metadata);

  const machine = await updated("stable");
  expect(await machine.packageNames()).toEqual(["hello", "hello-data"]);
  expect(await machine.download("hello")).toEqual(await deb("hello", "1.10-1"));
  expect([...(await machine.source("hello")).keys()]).toEqual(
    expect.arrayContaining(["hello_1.10-1.dsc", "hello_1.10-1.tar.gz"]),
  );

  const again = await json("promote", ...flags);
  expect(again).toMatchObject({ exitCode: 0, status: "nothing", changes: [] });
  expect(await changeLogOf("dists/stable/main/binary-amd64/alice")).toEqual([
    expect.objectContaining({
      by: "master",
      action: "promote",
      package: "hello",
      version: "1.10-1",
      path: `dists/stable/main/binary-amd64/alice/${name}`,
      from: `dists/${alice}/${name}`,
    }),
  ]);
});

test("a pool of several builders: one builder's upload is linked into another's directory too", async () => {
  const flags = ["--from", "sid", "--to", "sid", "--builder", "alice", "--to-builder", "bob/new", "other"];
  const done = await json("promote", ...flags);
  expect(done).toMatchObject({ exitCode: 0, status: "done", changes: [] });
  expect(await names("dists/sid/main/binary-amd64/bob/new")).toContain("other_1_amd64.deb");
  const listed = await run("list", "--builder", "bob/new");
  expect(listed.output).toBe("other 1 amd64 sid main dists/sid/main/binary-amd64/bob/new/other_1_amd64.deb\n");
});

test("a file with the same name and other bytes is replaced only on request, and rejected otherwise", async () => {
  const path = parseTreePath("dists/testing/main/binary-amd64/alice/other_1_amd64.deb");
  await tree.writer.put(tree.root, path, await deb("other", "1", "somebody-elses"), signal);
  const refused = await json("promote", "--from", "sid", "--to", "testing", "--builder", "alice", "other");
  expect(refused).toMatchObject({ exitCode: 3, problems: [expect.stringContaining("different bytes: --replace")] });
  const done = await json("promote", "--from", "sid", "--to", "testing", "--builder", "alice", "--replace", "other");
  expect(done).toMatchObject({ exitCode: 0, status: "done" });
  expect(summaryOf(done)).toEqual([
    "testing main/binary-amd64 -other 1 amd64",
    "testing main/binary-amd64 +other 1 amd64",
  ]);
  expect(await (await updated("testing")).download("other")).toEqual(await deb("other", "1"));
});

test("prune keeps the newest versions by Debian's order, and the sources of the packages that stay", async () => {
  const planned = await json("prune", "--suite", "sid", "--keep", "2", "--dry-run", "hello*");
  expect(summaryOf(planned)).toEqual([
    "sid main/binary-amd64 -hello 1.0-1 amd64",
    "sid main/binary-amd64 -hello-data 1.0-1 all",
    "sid main/source -hello 1.0-1 source",
  ]);
  expect((await json("prune", "--suite", "sid", "--older-than", "1")).status).toBe("nothing");
  const binaries = await json("prune", "--suite", "sid", "--keep", "1", "--architecture", "amd64");
  expect(summaryOf(binaries)).toEqual([
    "sid main/binary-amd64 -hello 1.0-1 amd64",
    "sid main/binary-amd64 -hello 1.9-1 amd64",
  ]);
  expect((await json("prune", "--suite", "sid", "--keep", "1", "--architecture", "source")).status).toBe("nothing");
  const rest = await json("prune", "--suite", "sid", "--keep", "1");
  expect(rest).toMatchObject({ exitCode: 0, status: "done" });
  const remaining = (await names("dists/sid/main/source/alice")).filter((name) => !name.startsWith("audit."));
  expect(remaining).toEqual(["hello_1.10-1.dsc", "hello_1.10-1.tar.gz"]);
  const machine = await updated("sid");
  expect((await machine.policy("hello")).match(/1\.\d+-1 500/g)).toEqual(["1.10-1 500"]);
  expect((await changeLogOf(`dists/${alice}`)).map((line) => `${line.action} ${line.package} ${line.version}`)).toEqual(
    ["prune hello 1.0-1", "prune hello 1.9-1"],
  );
});

test("removed packages disappear for apt, and removing them again is not an error", async () => {
  const done = await json("remove", "--suite", "stable", "src:hello");
  expect(done).toMatchObject({ exitCode: 0, status: "done" });
  const remaining = await names("dists/stable/main/source/alice");
  expect(remaining).toEqual([expect.stringMatching(/^audit\.\d+\.jsonl$/)]);
  expect(await (await updated("stable")).packageNames()).toEqual([]);
  const again = await json("remove", "--suite", "stable", "src:hello");
  expect(again).toMatchObject({ exitCode: 0, status: "nothing", unmatched: ["src:hello"] });
});

test("a file that is not a package is listed with the reason, never promoted, and removable by its path", async () => {
  const path = parseTreePath("dists/sid/main/binary-amd64/bob/text_1_amd64.deb");
  await tree.writer.put(tree.root, path, Buffer.from("this is no package, and longer than a cap would hold\n"), signal);
  expect((await run("list", "--suite", "sid")).output).toContain(`rejected: ${path}: `);
  const flags = ["--from", "sid", "--to", "stable", path];
  expect((await json("promote", ...flags)).problems).toEqual([`nothing matches ${path}`]);
  expect((await json("remove", path)).status).toBe("done");
  expect(await names("dists/sid/main/binary-amd64/bob")).not.toContain("text_1_amd64.deb");
});

test("a builder's commands work only in its own directories", async () => {
  const own = new CommandLine(["promote", "--bundle", tree.file, "--from", "sid", "--to", "testing", "other"]);
  expect(await own.ends()).toBe(3);
  expect(own.output).toContain("dists/testing/main/binary-amd64/alice is in none of this bundle's directories");
  const gone = new CommandLine(["remove", "--bundle", tree.file, "other"]);
  expect(await gone.ends()).toBe(0);
  expect(await names(`dists/${alice}`)).not.toContain("other_1_amd64.deb");
  expect(await names("dists/sid/main/binary-amd64/bob/new")).toContain("other_1_amd64.deb");
});

test("an invalid pattern or number, or a missing bundle or retention, is a usage error: exit code 2", async () => {
  for (const args of [
    ["remove", "--bundle", master, "=1.0"],
    ["remove", "--bundle", master, "--timeout", "soon", "hello"],
    ["prune", "--bundle", master],
    ["prune", "--bundle", master, "--keep", "0"],
    ["promote", "--from", "sid", "--to", "stable", "hello"],
  ]) {
    const command = new CommandLine(args);
    expect(await command.ends(), args.join(" ")).toBe(2);
  }
});

test("malicious names do not control the terminal, and match only themselves", async () => {
  const odd = ["*", "a\u{202e}b_1_amd64.deb", "__proto__", "sp ace_1_amd64.deb", "-rf_1_amd64.deb"];
  const directory = "dists/odd/main/binary-amd64/mallory";
  for (const [number, name] of odd.entries()) {
    const path = parseTreePath(`${directory}/${name}`);
    await tree.writer.put(tree.root, path, await deb(`odd${number}`, "1"), signal);
  }
  const listed = await run("list", "--suite", "odd");
  expect(listed.output).not.toContain("\u{202e}");
  expect(listed.output).toContain("a\\u{202e}b_1_amd64.deb");
  const promoted = await json("promote", "--from", "odd", "--to", "odd2", "--new-suite", "*");
  expect(promoted).toMatchObject({ exitCode: 0, status: "done" });
  expect(summaryOf(promoted)).toHaveLength(3);
  const one = await json("remove", "--suite", "odd2", `dists/odd2/main/binary-amd64/mallory/a\u{202e}b_1_amd64.deb`);
  expect(summaryOf(one)).toEqual(["odd2 main/binary-amd64 -odd1 1 amd64"]);
});
