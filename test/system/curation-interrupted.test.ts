// `tahoe-apt promote` and `remove` with a kill at any change, gateway failures, or parallel commands: nothing is lost.
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import fetch from "node-fetch";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { parseTreePath, rootPath } from "../../src/base/names.ts";
import type { Link } from "../../src/storage/tahoe/webapi-writer.ts";
import type { Entry } from "../../src/storage/tree.ts";
import { CommandLine } from "../support/command-line.ts";
import { aDeb, aDsc } from "../support/debs.ts";
import { InitializedTree } from "../support/initialized-tree.ts";
import type { InterruptingGateway } from "../support/interrupting-gateway.ts";
import { interruptingGateway } from "../support/interrupting-gateway.ts";
import { projectRoot } from "../support/project-files.ts";
import { secondGateway } from "../support/second-gateway.ts";

const { signal } = new AbortController();
const { dsc, files: sources } = aDsc({ source: "hello", version: "1.0-1" });
const deb = "hello_1.0-1_amd64.deb";
let tree: InitializedTree;
let gateway: InterruptingGateway;
/** The master's bundle, with the interrupting gateway and without a ping. */
let bundle: string;
let serial = 0;

function masterBundle(name: string, url: string): string {
  const directories = [{ path: rootPath, cap: tree.root }];
  return tree.writeBundle(`${name}.bundle`, { name, gateways: [url], directories, ping: undefined });
}

beforeAll(async () => {
  tree = await InitializedTree.plant(inject("webapiUrl"), ["sid/main/binary-amd64", "sid/main/source"]);
  gateway = await interruptingGateway(inject("webapiUrl"));
  bundle = masterBundle("master", gateway.url);
  const all = new Map([...sources, [deb, await aDeb({ package: "hello", architecture: "amd64" })]]);
  const paths = tree.write(all).filter((path) => path.endsWith(".deb") || path.endsWith(".dsc"));
  expect((await tree.put(paths)).exitCode).toBe(0);
});

afterAll(async () => {
  await gateway?.end();
  await tree?.close();
});

const promotion = (suite: string) => [
  "promote",
  "--bundle",
  bundle,
  "--from",
  "sid",
  "--to",
  suite,
  "--new-suite",
  "src:hello",
];
const removal = (suite: string) => ["remove", "--bundle", bundle, "--suite", suite, "src:hello"];

async function entries(path: string): Promise<ReadonlyMap<string, Entry>> {
  const cap = await tree.writer.directoryAt(tree.root, parseTreePath(path), signal);
  return cap === undefined ? new Map<string, Entry>() : await tree.writer.list(cap, signal);
}

const isLog = (name: string): boolean => name.startsWith("audit.");
const packagesIn = async (path: string) => [...(await entries(path)).keys()].filter((name) => !isLog(name)).toSorted();

/** All lines of a directory's change logs, as `action package architecture`. */
async function linesOf(path: string): Promise<readonly string[]> {
  const lines: string[] = [];
  for (const [name, entry] of await entries(path)) {
    if (!isLog(name) || entry.kind !== "file") continue;
    const response = await fetch(`${inject("webapiUrl")}/uri/${encodeURIComponent(entry.content?.reveal() ?? "")}`);
    const entries = (await response.text())
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, string>);
    lines.push(...entries.map(({ action, package: name_, architecture }) => `${action} ${name_} ${architecture}`));
  }
  return lines.toSorted();
}

type When = "before" | "after";

/** The numbers of the requests between which something changes on the grid in an undisturbed run. */
async function momentsOf(args: readonly string[]): Promise<readonly (readonly [number: number, when: When])[]> {
  gateway.at(-1, "before", () => undefined);
  const command = new CommandLine(args);
  expect(await command.ends(), command.output).toBe(0);
  const changes = gateway.requests.flatMap((request, number) => (request.startsWith("GET") ? [] : [number]));
  return [[changes[0] ?? 0, "before"], ...changes.map((number) => [number, "after"] as const)];
}

/** Runs a command that is killed at one request, and then runs it to its end. */
async function killAndRepeat(args: readonly string[], number: number, when: When, between: () => Promise<void>) {
  const command = new CommandLine(args);
  gateway.at(number, when, () => {
    command.child.kill("SIGKILL");
    return 500;
  });
  await command.ends();
  await between();
  gateway.at(-1, "before", () => undefined);
  const again = new CommandLine(args);
  expect(await again.ends(), again.output).toBe(0);
}

const binaryAt = (suite: string) => `dists/${suite}/main/binary-amd64/alice`;
const sourceAt = (suite: string) => `dists/${suite}/main/source/alice`;

/** A new suite with the contents of sid. */
async function aSuite(): Promise<string> {
  const suite = `r${serial++}`;
  for (const [from, to] of [
    [binaryAt("sid"), binaryAt(suite)],
    [sourceAt("sid"), sourceAt(suite)],
  ] as const) {
    const cap = await tree.writer.makeDirectory(tree.root, parseTreePath(to), signal);
    const links = [...(await entries(from))].flatMap(([name, entry]): [string, Link][] =>
      entry.kind === "file" && entry.content !== undefined ? [[name, { content: entry.content, metadata: {} }]] : [],
    );
    await tree.writer.link(cap, new Map(links), signal);
  }
  return suite;
}

test("after a kill at any change, promote leaves complete directories with their log lines, and succeeds the next time", async () => {
  const moments = await momentsOf(promotion("whole"));
  // For each of two directories: it is created, its log is uploaded, and all its links are set in one write.
  expect(moments).toHaveLength(1 + 6);
  for (const [number, when] of moments) {
    const suite = `p${serial++}`;
    await killAndRepeat(promotion(suite), number, when, async () => {
      const present = await packagesIn(sourceAt(suite));
      if (present.length > 0) expect(present).toEqual([...sources.keys()].toSorted());
      expect(await linesOf(sourceAt(suite))).toEqual(present.length > 0 ? ["promote hello source"] : []);
    });
    expect(await packagesIn(sourceAt(suite))).toEqual([...sources.keys()].toSorted());
    expect(await packagesIn(binaryAt(suite))).toEqual([deb]);
    expect(await linesOf(sourceAt(suite))).toEqual(["promote hello source"]);
    expect(await linesOf(binaryAt(suite))).toEqual(["promote hello amd64"]);
  }
});

test("after a kill at any change, remove has logged what it removes, and succeeds the next time", async () => {
  for (const [number, when] of await momentsOf(removal(await aSuite()))) {
    const suite = await aSuite();
    await killAndRepeat(removal(suite), number, when, async () => {
      const present = await packagesIn(sourceAt(suite));
      if (present.length < sources.size) expect(await linesOf(sourceAt(suite))).toContain("remove hello source");
      if (present.length > 0) expect(present).toContain(dsc);
    });
    expect(await packagesIn(binaryAt(suite))).toEqual([]);
    expect(await packagesIn(sourceAt(suite))).toEqual([]);
    expect(await linesOf(sourceAt(suite))).toContain("remove hello source");
    expect(await linesOf(binaryAt(suite))).toContain("remove hello amd64");
  }
});

test("a write that succeeded although its gateway reported an error is not repeated", async () => {
  const [, , , [number] = [0]] = await momentsOf(promotion(`f${serial++}`));
  const suite = `f${serial++}`;
  gateway.at(number, "after", () => 502);
  const command = new CommandLine(promotion(suite));
  expect(await command.ends(), command.output).toBe(0);
  expect(gateway.requests[number]).toContain("set_children");
  expect(await packagesIn(sourceAt(suite))).toEqual([...sources.keys()].toSorted());
  expect(await linesOf(sourceAt(suite))).toEqual(["promote hello source"]);
});

/** Packages in sid that only one test promotes. */
async function newPackages(count: number): Promise<readonly string[]> {
  const names = Array.from({ length: count }, () => `own${serial++}`);
  for (const name of names) {
    const path = parseTreePath(`${binaryAt("sid")}/${name}_1_amd64.deb`);
    await tree.writer.put(tree.root, path, await aDeb({ package: name, version: "1", architecture: "amd64" }), signal);
  }
  return names;
}

test("a command that is overtaken between reading and writing loses no link and no line, and removes none of others", async () => {
  const other = masterBundle("other", inject("webapiUrl"));
  const names = await newPackages(4);
  const [first = "", second = "", slow = "", quick = ""] = names;
  const args = (by: string, name: string) => ["promote", "--bundle", by, "--from", "sid", "--to", "race", name];
  await momentsOf([...args(bundle, first), "--new-suite"]);
  await momentsOf(args(bundle, second));
  const write = gateway.requests.findIndex((request) => request.includes("set_children"));

  const command = new CommandLine(args(bundle, slow));
  // This process blocks, and so does the first command's write, until the second command has finished.
  gateway.at(write, "before", () => {
    execFileSync(process.execPath, [join(projectRoot, "dist/cli.js"), ...args(other, quick)]);
    return undefined;
  });
  expect(await command.ends(), command.output).toBe(0);
  expect(gateway.requests.filter((request) => request.includes("set_children"))).toHaveLength(2);
  expect(await packagesIn(binaryAt("race"))).toEqual(names.map((name) => `${name}_1_amd64.deb`).toSorted());
  expect(await linesOf(binaryAt("race"))).toEqual(names.map((name) => `promote ${name} amd64`).toSorted());
});

test("a file that somebody else linked under the same name meanwhile is not replaced", async () => {
  const [first = "", second = "", third = ""] = await newPackages(3);
  const args = (name: string) => ["promote", "--bundle", bundle, "--from", "sid", "--to", "held", name];
  await momentsOf([...args(first), "--new-suite"]);
  await momentsOf(args(second));
  const write = gateway.requests.findIndex((request) => request.includes("set_children"));
  const file = `${third}_1_amd64.deb`;
  const theirs = await tree.writer.upload(Buffer.alloc(5_000, "t"), signal);
  const target = await tree.writer.directoryAt(tree.root, parseTreePath(binaryAt("held")), signal);
  const command = new CommandLine(args(third));
  gateway.at(write, "before", () => {
    const put = 'await fetch(process.env.URL, { method: "PUT", body: "t".repeat(5000) });';
    const url = `${inject("webapiUrl")}/uri/${encodeURIComponent(target?.reveal() ?? "")}/${file}`;
    execFileSync(process.execPath, ["--input-type=module", "-e", put], { env: { URL: url } });
    return undefined;
  });
  expect(await command.ends()).toBe(1);
  expect(command.output).toContain(`${file} was created with different bytes in the meantime`);
  expect((await entries(binaryAt("held"))).get(file)).toMatchObject({ content: { key: theirs.key } });
});

test("two commands that change one directory at once through two gateways lose no link and no line", async () => {
  const other = await secondGateway(inject("tahoe"), inject("nodeDirectory"));
  try {
    const bundles = [masterBundle("first", inject("webapiUrl")), masterBundle("second", other.url)];
    const names = await newPackages(4);
    await tree.writer.makeDirectory(tree.root, parseTreePath(binaryAt("busy")), signal);
    const run = async (name: string, index: number) => {
      const args = ["promote", "--bundle", bundles[index % 2] ?? "", "--from", "sid", "--to", "busy", name];
      const command = new CommandLine(args);
      expect(await command.ends(), command.output).toBe(0);
    };
    for (let at = 0; at < names.length; at += 2) {
      await Promise.all(names.slice(at, at + 2).map((name, index) => run(name, index)));
    }
    expect(await packagesIn(binaryAt("busy"))).toEqual(names.map((name) => `${name}_1_amd64.deb`).toSorted());
    expect(await linesOf(binaryAt("busy"))).toEqual(names.map((name) => `promote ${name} amd64`).toSorted());
  } finally {
    await other.stop();
  }
});
