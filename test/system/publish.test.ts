// Indices in the Tahoe tree itself: apt reads the repository through the gateway, without our server.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, inject, onTestFinished, test } from "vitest";
import { parseTreePath } from "../../src/base/names.ts";
import type { BundleDirectory } from "../../src/client/bundle.ts";
import { AptRoot } from "../support/apt.ts";
import { CommandLine } from "../support/command-line.ts";
import { aDsc } from "../support/debs.ts";
import { InitializedTree, namedDeb } from "../support/initialized-tree.ts";
import { ServerUnderTest } from "../support/server.ts";

const { signal } = new AbortController();
const long = 240_000;
let tree: InitializedTree;
let indices: string;
let readCap: string;

beforeAll(async () => {
  tree = await InitializedTree.plant(inject("webapiUrl"));
  readCap = readFileSync(join(tree.work, "readcap"), "utf8");
  await put(new Map([await namedDeb({ package: "hello", version: "1:2.0+b~1" }), ...aDsc({ source: "greet" }).files]));
  indices = await bundleOf("indices", "dists/sid");
});

afterAll(async () => tree?.close());

const put = async (files: ReadonlyMap<string, Uint8Array>): Promise<void> => {
  const { exitCode, output } = await tree.put(tree.write(files));
  if (exitCode !== 0) throw new Error(output);
};

/** A bundle that opens only these directories. */
async function bundleOf(name: string, ...paths: readonly string[]): Promise<string> {
  const directories: BundleDirectory[] = [];
  for (const raw of paths) {
    const path = parseTreePath(raw);
    directories.push({ path, cap: await tree.writer.makeDirectory(tree.root, path, signal) });
  }
  return tree.writeBundle(`${name}.bundle`, { ...tree.bundle, name, directories, ping: undefined });
}

const flags = (bundle = indices) => [
  "--webapi",
  inject("webapiUrl"),
  "--readcap-file",
  join(tree.work, "readcap"),
  "--state",
  join(tree.work, "state"),
  "--bundle",
  bundle,
];

async function publish(bundle?: string): Promise<string> {
  const command = new CommandLine(["publish", ...flags(bundle)]);
  const exitCode = await command.ends();
  if (exitCode !== 0) throw new Error(`publish ended with ${exitCode}:\n${command.output}`);
  return command.output;
}

async function gatewayApt(): Promise<AptRoot> {
  const key = readFileSync(join(tree.work, "key.asc"), "utf8");
  const url = `${inject("webapiUrl")}/uri/${encodeURIComponent(readCap)}`;
  const apt = new AptRoot({ source: { url, suite: "sid", publicKey: key } });
  onTestFinished(() => apt.close());
  return apt;
}

async function updated(): Promise<AptRoot> {
  const apt = await gatewayApt();
  const { exitCode, output } = await apt.run("apt-get", "update");
  expect(output).not.toMatch(/^[WE]:/m);
  expect(exitCode).toBe(0);
  return apt;
}

test("apt installs and downloads sources through a gateway, with the read cap and without our server", {
  timeout: long,
}, async () => {
  writeFileSync(join(tree.work, "key.asc"), await (await fetch(`${tree.server.url}/debian/key.asc`)).text());
  const output = await publish();
  expect(output).toMatch(/uploaded \d+, linked \d+/);
  expect(output).not.toContain("URI:");
  const apt = await updated();
  expect((await apt.download("hello")).length).toBeGreaterThan(100);
  expect((await apt.source("greet")).size).toBe(3);
  expect(await publish()).toBe("everything is up to date\n");

  await put(new Map([await namedDeb({ package: "later" })]));
  const again = await publish();
  const [, uploaded = ""] = /uploaded (\d+)/.exec(again) ?? [];
  expect(Number(uploaded)).toBeLessThan(20);
  await (await updated()).download("later");
});

test("a directory that the bundle does not open is named, and nothing is partly published", {
  timeout: long,
}, async () => {
  const before = await tree.writer.list(
    await tree.writer.makeDirectory(tree.root, parseTreePath("dists/sid"), signal),
    signal,
  );
  const command = new CommandLine(["publish", ...flags(await bundleOf("narrow", "dists/sid/main/binary-amd64"))]);
  await put(new Map([await namedDeb({ package: "unpublished" })]));
  expect(await command.ends()).toBe(1);
  expect(command.output).toMatch(/no write cap for dists\/sid/);
  expect(command.output).not.toContain("URI:");
  const after = await tree.writer.list(
    await tree.writer.makeDirectory(tree.root, parseTreePath("dists/sid"), signal),
    signal,
  );
  expect(after.get("InRelease")).toEqual(before.get("InRelease"));
});

test("after a kill at any point, the tree is a complete repository, and the next run finishes it", {
  timeout: long,
}, async () => {
  for (const afterMs of [900, 1200, 1500, 1800]) {
    await put(new Map([await namedDeb({ package: `killed-${afterMs}` })]));
    const command = new CommandLine(["publish", ...flags()]);
    await sleep(afterMs);
    await command.stop("SIGKILL");
    await (await updated()).download("hello");
  }
  await publish();
  await (await updated()).download("killed-1800");
});

test("apt in a loop finds a complete repository at any moment while a server publishes twice a second", {
  timeout: long,
}, async () => {
  const config = join(tree.work, "conf");
  writeFileSync(
    config,
    `state = "second"\n[[repository]]\nname = "debian"\nwebapi = "${inject("webapiUrl")}"\nreadcap_file = "readcap"\n` +
      `publish_bundle_file = "indices.bundle"\nping_token_file = "token"\n`,
  );
  writeFileSync(join(tree.work, "token"), "a-token-for-this-test-alone\n", { mode: 0o600 });
  const server = await ServerUnderTest.start({ flags: ["--config", config] });
  onTestFinished(async () => void (await server.end()));
  await server.ready();
  writeFileSync(join(tree.work, "key.asc"), await (await fetch(`${server.url}/debian/key.asc`)).text());
  const inTree = async (name: string) => (await (await gatewayApt()).run("apt-get", "update")).exitCode === 0 && name;
  await expect.poll(() => inTree("there"), { timeout: 60_000 }).toBe("there");

  const until = Date.now() + 20_000;
  const failures: string[] = [];
  const uploads = (async () => {
    const places = new Map(tree.bundle.directories.map(({ path, cap }) => [path, cap]));
    const path = parseTreePath("dists/sid/main/binary-amd64/alice");
    const cap = places.get(path);
    for (let n = 0; cap !== undefined && Date.now() < until; n++) {
      const [name, bytes] = await namedDeb({ package: `loop-${n % 7}`, version: `${n}` });
      await tree.writer.put(cap, parseTreePath(name), bytes, signal);
      const ping = { method: "POST", headers: { Authorization: "Bearer a-token-for-this-test-alone" } };
      await fetch(`${server.url}/-/ping/debian/${path}`, ping);
      await sleep(500);
    }
  })();
  let updates = 0;
  const apt = await gatewayApt();
  while (Date.now() < until) {
    const { exitCode, output } = await apt.run("apt-get", "update");
    updates += 1;
    if (exitCode !== 0 || /^[WE]:/m.test(output)) failures.push(output);
  }
  await uploads;
  expect(failures).toEqual([]);
  expect(updates).toBeGreaterThan(3);
});
