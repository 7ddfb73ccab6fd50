// `tahoe-apt verify` with a real server of a tree on the real grid, and with servers that lie.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import fetch from "node-fetch";
import { afterAll, beforeAll, expect, inject, onTestFinished, test } from "vitest";
import type { Verification } from "../../src/verify/verify-suite.ts";
import { CommandLine } from "../support/command-line.ts";
import { CorruptingProxy } from "../support/corrupting-proxy.ts";
import { aDeb, aDsc } from "../support/debs.ts";
import { InitializedTree, namedDeb } from "../support/initialized-tree.ts";
import { ServerUnderTest } from "../support/server.ts";

let tree: InitializedTree;
let proxy: CorruptingProxy;

beforeAll(async () => {
  tree = await InitializedTree.plant(inject("webapiUrl"));
  const files = new Map([
    await namedDeb({ package: "hello", version: "1:2.0+b~1" }),
    await namedDeb({ package: "other", architecture: "all" }),
    ...aDsc({ source: "greet" }).files,
  ]);
  const { exitCode, output } = await tree.put(tree.write(files));
  if (exitCode !== 0) throw new Error(output);
  proxy = await CorruptingProxy.start(tree.server.url);
});

afterAll(async () => {
  await proxy?.close();
  await tree?.close();
});

const ofTheTree = () => ["--webapi", inject("webapiUrl"), "--readcap-file", join(tree.work, "readcap")];

async function verify(url: string, ...flags: readonly string[]) {
  const command = new CommandLine(["verify", "--json", ...flags, url]);
  const exitCode = await command.ends();
  const lines = command.output.split("\n").filter((line) => line.startsWith("{"));
  const suites = lines.map((line) => JSON.parse(line) as Verification & { readonly suite: string });
  return { exitCode, output: command.output, suites };
}

const codes = (suites: readonly Verification[]) => [
  ...new Set(suites.flatMap(({ findings }) => findings.map(({ code }) => code))),
];

test("a correct server is verified, with nothing but the read cap", async () => {
  const { exitCode, output, suites } = await verify(`${tree.server.url}/debian`, ...ofTheTree());
  expect(suites, output).toMatchObject([{ suite: "sid", packages: 5, findings: [] }]);
  expect(suites[0]?.indices).toBeGreaterThan(5);
  expect(exitCode).toBe(0);
  expect(output).toMatch(/trusting the server's own key, [0-9A-F]{40}/);
  expect(output).not.toContain("URI:");
});

test("a compared index is requested once by its name and once by its hash", async () => {
  const before = proxy.requestedPaths.length;
  const { exitCode, output } = await verify(`http://${proxy.host}/debian`, ...ofTheTree());
  expect(exitCode, output).toBe(0);
  const requests = proxy.requestedPaths
    .slice(before)
    .filter((path) => /\/source\/(by-hash\/SHA256\/|Sources)/.test(path));
  expect(requests.filter((path) => path.endsWith("/Sources"))).toHaveLength(1);
  expect(requests.some((path) => path.includes("/by-hash/SHA256/"))).toBe(true);
  expect(requests.toSorted()).toEqual([...new Set(requests)].toSorted());
});

test.each([
  ["an index", /Packages\.xz$/, ["bytes"]],
  ["an index that is compared", /Sources$/, ["bytes", "changed"]],
  ["a package", /hello_.*\.deb$/, ["bytes"]],
  ["a signed file", /\/InRelease$/, ["signature"]],
])("one changed bit in %s is found and named", async (_, paths, expected) => {
  const url = `http://${proxy.host}/debian`;
  const { exitCode, output, suites } = await proxy.whileCorrupting(paths, () => verify(url, ...ofTheTree()));
  expect(exitCode, output).toBe(3);
  expect(codes(suites)).toEqual(expected);
  for (const { path, code } of suites.flatMap(({ findings }) => findings))
    if (code === "bytes") expect(path).toMatch(/xz$|SHA256|deb$|Sources$/);
});

test("a server that hides, adds and changes packages is found entry by entry, although all its digests are correct", async () => {
  const work = mkdtempSync(join(tmpdir(), "tahoe-apt-verify-"));
  const put = (root: string, path: string, bytes: Uint8Array): void => {
    mkdirSync(dirname(join(work, root, path)), { recursive: true });
    writeFileSync(join(work, root, path), bytes);
  };
  const place = "dists/sid/main/binary-amd64";
  for (const root of ["true", "false"])
    put(root, `${place}/same.deb`, await aDeb({ package: "same", architecture: "amd64" }));
  put("true", `${place}/hidden.deb`, await aDeb({ package: "hidden", architecture: "amd64" }));
  put("true", `${place}/changed.deb`, await aDeb({ package: "changed", architecture: "amd64" }));
  put(
    "false",
    `${place}/changed.deb`,
    await aDeb({ package: "changed", architecture: "amd64", files: { "./evil": "x" } }),
  );
  put("false", `${place}/added.deb`, await aDeb({ package: "added", architecture: "amd64" }));
  const server = await ServerUnderTest.start({
    flags: ["--folder", join(work, "false"), "--state", join(work, "state")],
  });
  onTestFinished(async () => {
    await server.end();
    rmSync(work, { recursive: true });
  });
  await server.ready();

  const url = `${server.url}/debian`;
  const { exitCode, output, suites } = await verify(url, "--folder", join(work, "true"));
  expect(exitCode, output).toBe(3);
  const texts = suites.flatMap(({ findings }) => findings).map(({ code, text }) => `${code} ${text}`);
  expect(texts.toSorted()).toEqual([
    expect.stringMatching(/^changed changed .*: different values of .*sha256/),
    expect.stringMatching(/^missing hidden .*: in the tree/),
    expect.stringMatching(/^surplus added .*: .* not in the tree$/),
  ]);

  const truth = join(work, "key.asc");
  writeFileSync(truth, await (await fetch(`${tree.server.url}/debian/key.asc`)).text());
  const other = await verify(url, "--folder", join(work, "false"), "--key", truth);
  expect(codes(other.suites), other.output).toEqual(["signature"]);
  const well = await verify(url, "--folder", join(work, "false"), "--packages", "none");
  expect([well.exitCode, well.suites[0]?.packages], well.output).toEqual([0, 0]);
});

test("a file that cannot be downloaded is not a difference but a failure, and is named", async () => {
  const { exitCode, output } = await verify("http://127.0.0.1:1/debian", ...ofTheTree());
  expect(exitCode).toBe(1);
  expect(output).toContain("http://127.0.0.1:1/debian/key.asc");
  expect(output).not.toContain("URI:");
});
