// The state directory that a released version left is taken over by the present version; see state-of-0.1.0/README.md.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fetch from "node-fetch";
import { beforeEach, expect, inject, onTestFinished, test } from "vitest";
import { AptRoot } from "../support/apt.ts";
import { outputOf, runCommand } from "../support/command-line.ts";
import { runTool } from "../support/debs.ts";
import { ServerUnderTest } from "../support/server.ts";

const left = join(import.meta.dirname, "state-of-0.1.0/state.tar.xz");
/** A port of the loopback interface that nobody listens on. */
const noGateway = "http://127.0.0.1:9";

let work: string;
let config: string;
let server: ServerUnderTest;

const write = (gateway: string): void => {
  const lines = ['state = "state"', "[[repository]]", 'name = "debian"', `webapi = "${gateway}"`];
  const files = ['readcap_file = "readcap"', 'ping_token_file = "ping-token"', 'package_owners = "first"'];
  writeFileSync(config, [...lines, ...files, ""].join("\n"));
};

beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), "tahoe-apt-upgrade-"));
  config = join(work, "tahoe-apt.toml");
  runTool("tar", ["-xJf", left, "-C", work], "", "xz-utils");
  // The storage server finds shares that are put into its directory.
  cpSync(join(work, "shares"), join(inject("nodeDirectory"), "storage/shares"), { recursive: true });
  onTestFinished(async () => {
    await server.end();
    rmSync(work, { recursive: true, force: true });
  });
});

const start = async (): Promise<void> => {
  server = await ServerUnderTest.start({ flags: ["--config", config] });
};

const get = async (path: string): Promise<string> => {
  const reply = await fetch(`${server.url}/${path}`);
  expect([path, reply.status]).toEqual([path, 200]);
  return await reply.text();
};

const versionsIn = async (path: string): Promise<readonly string[]> =>
  [...(await get(`debian/${path}/main/binary-amd64/Packages`)).matchAll(/^Version: (.*)$/gm)].map(
    ([, version = ""]) => version,
  );

/** How many packages were read from the tree, or inspected by their metadata, and not taken from the state. */
async function inspections(): Promise<number> {
  const lines = [...(await get("metrics")).matchAll(/^tahoe_apt_inspections_total\{(.*)\} (.*)$/gm)];
  expect(lines.length).toBeGreaterThan(1);
  const others = lines.filter(([, labels = ""]) => !labels.includes('source="ledger"'));
  return others.reduce((sum, [, , value]) => sum + Number(value), 0);
}

test("what was published is served at once, also while the grid is away", async () => {
  write(noGateway);
  await start();
  const { status } = await fetch(`${server.url}/readyz`);
  expect(status).toBe(200);
  expect(await versionsIn("dists/sid")).toEqual(["2"]);
  expect(await versionsIn("dists/trixie")).toEqual(["1"]);
  expect(await versionsIn("snapshots/release-1/dists/sid")).toEqual(["1"]);
  const key = await get("debian/key.asc");
  const client = new AptRoot({ source: { url: `${server.url}/debian`, suite: "sid", publicKey: key } });
  onTestFinished(() => client.close());
  await client.update();
});

test("nothing is inspected again; Date, pins, rollbacks, owners and overrides are as they were", async () => {
  write(noGateway);
  await start();
  const before = await get("debian/dists/sid/InRelease");
  await server.end();
  write(inject("webapiUrl"));
  await start();
  const token = readFileSync(join(work, "ping-token"), "utf8");
  const headers = { authorization: `Bearer ${token}` };
  const ping = await fetch(`${server.url}/-/ping/debian?wait=60`, { method: "POST", headers });
  const answer = (await ping.json()) as { rejected: { path: string; code: string }[]; publications: object[] };
  expect(answer.rejected).toMatchObject([
    { path: "dists/sid/main/binary-amd64/bob/hello_9_amd64.deb", code: "not-owner" },
  ]);
  expect(await inspections()).toBe(0);
  const dateIn = (text: string) => Date.parse(/^Date: (.*)$/m.exec(text)?.[1] ?? "");
  expect(dateIn(await get("debian/dists/sid/InRelease"))).toBeGreaterThanOrEqual(dateIn(before));
  expect(await versionsIn("dists/sid")).toEqual(["2"]);
  expect(await get("debian/dists/sid/main/binary-amd64/Packages")).toContain("Section: utils");
  expect(await versionsIn("dists/trixie")).toEqual(["1"]);
  const list = await outputOf(["snapshot", "list", "--config", config]);
  expect(list).toMatch(/^sid .* release-1$/m);
  expect(list).toMatch(/^trixie is rolled back to /m);
  expect(await outputOf(["owner", "list", "--config", config])).toContain("hello belongs to alice (published first)");

  const old = { url: `${server.url}/debian/snapshots/release-1`, suite: "sid", publicKey: await get("debian/key.asc") };
  const client = new AptRoot({ source: old });
  onTestFinished(() => client.close());
  await client.update();
  expect((await client.download("hello")).length).toBeGreaterThan(0);
});

test("a state that a newer, incompatible version has changed is refused, and is not touched", async () => {
  write(noGateway);
  await start();
  await server.end();
  const mark = join(work, "state/version.json");
  const newer = '{"format":99,"program":"99.0","something":"new"}\n';
  expect(JSON.parse(readFileSync(mark, "utf8"))).toMatchObject({ format: 1 });
  writeFileSync(mark, newer);
  for (const command of [["serve"], ["snapshot", "list"], ["backup", join(work, "it.backup")]]) {
    const { exitCode, output } = await runCommand([...command, "--config", config]);
    expect([command, exitCode]).toEqual([command, 1]);
    expect(output).toMatch(
      /is from tahoe-apt 99\.0, whose state has format 99; .*: install 99\.0 or later, or restore a backup/,
    );
  }
  expect(readFileSync(mark, "utf8")).toBe(newer);
  // Fields that this version does not know are ignored within the same format.
  writeFileSync(mark, '{"format":1,"program":"99.0","something":"new"}\n');
  await start();
  expect(await versionsIn("dists/sid")).toEqual(["2"]);
});
