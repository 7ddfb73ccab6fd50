// Health and leases on a real grid: shares are deleted from its storage, and deep-check reports, repairs and renews.
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { parseTreePath } from "../../src/base/names.ts";
import { formatBundle } from "../../src/client/bundle.ts";
import type { Grid } from "../../src/local/grid/grid.ts";
import type { WriteCap } from "../../src/storage/tahoe/caps.ts";
import { Webapi } from "../../src/storage/tahoe/webapi.ts";
import { WebapiWriter } from "../../src/storage/tahoe/webapi-writer.ts";
import { CommandLine } from "../support/command-line.ts";
import { sharesOf, threeShareGrid } from "../support/three-share-grid.ts";

const { signal } = new AbortController();
const work = mkdtempSync(join(tmpdir(), "tahoe-apt-deep-check-"));
const directory = parseTreePath("dists/sid/main/binary-amd64/builder");
let grid: Grid;
let writer: WebapiWriter;
let root: WriteCap;

const put = (name: string) =>
  writer.put(root, parseTreePath(`${directory}/${name}`), Buffer.alloc(5_000, name), signal);

beforeAll(async () => {
  grid = await threeShareGrid(inject("tahoe"), join(work, "grid"));
  writer = new WebapiWriter(new Webapi(grid.webapiUrl));
  root = await writer.createDirectory(signal);
  await writer.makeDirectory(root, directory, signal);
  writeFileSync(join(work, "readcap"), (await writer.readCapOf(root, signal)).reveal(), { mode: 0o600 });
  const bundle = {
    name: "all of it",
    gateways: [grid.webapiUrl],
    directories: [{ path: parseTreePath(""), cap: root }],
    ping: undefined,
  };
  writeFileSync(join(work, "bundle"), formatBundle(bundle).reveal(), { mode: 0o600 });
  for (const name of ["well.deb", "thin.deb", "gone.deb"]) await put(name);
  await writer.put(root, parseTreePath("tiny"), Buffer.from("stands in its cap"), signal);
  await writer.put(root, parseTreePath("a\u{202e}b"), Buffer.from("a hostile name"), signal);
});

afterAll(async () => {
  await grid?.stop();
  rmSync(work, { recursive: true, force: true });
});

interface Line {
  readonly path: string;
  readonly kind: string;
  readonly state: string;
  readonly storageIndex?: string;
  readonly shares?: { readonly good: number };
  readonly repaired?: boolean;
  readonly summary?: { readonly [count: string]: number };
}

async function check(...args: readonly string[]): Promise<{ code: number | null; output: string; lines: Line[] }> {
  const gatewayFlags = args.includes("--bundle")
    ? []
    : ["--webapi", grid.webapiUrl, "--readcap-file", join(work, "readcap")];
  const command = new CommandLine(["deep-check", ...gatewayFlags, ...args]);
  const code = await command.ends();
  expect(command.output).not.toMatch(/URI:/);
  const json = args.includes("--json") ? command.output.trim().split("\n") : [];
  return { code, output: command.output, lines: json.map((line) => JSON.parse(line) as Line) };
}

const shareDirectory = (storageIndex: string) => sharesOf(grid, storageIndex);

const stateOf = (lines: readonly Line[], path: string) => lines.find((line) => line.path === path)?.state;
const indexOf = (lines: readonly Line[], path: string): string => {
  const index = lines.find((line) => line.path === path)?.storageIndex;
  if (!index) throw new Error(`${path} has no storage index`);
  return index;
};

/**
 * The end of the lease of an immutable file's first share, in seconds since the epoch, from the end of its container.
 */
function leaseEnd(storageIndex: string): number {
  const share = join(shareDirectory(storageIndex), readdirSync(shareDirectory(storageIndex)).toSorted()[0] ?? "0");
  return readFileSync(share).readUInt32BE(statSync(share).size - 4);
}

test("a healthy tree: each object is reported once, exit code 0, and its leases are extended", async () => {
  const first = await check("--json");
  expect(first).toMatchObject({ code: 0 });
  const paths = first.lines.map(({ path }) => path);
  expect(paths).toContain(`${directory}/well.deb`);
  expect(paths).toContain("dists/sid");
  expect(new Set(paths.slice(0, -1)).size).toBe(paths.length - 1);
  expect(first.lines.at(-1)?.summary).toMatchObject({ healthy: 11, unhealthy: 0, lost: 0, unchecked: 0, renewed: 9 });

  const index = indexOf(first.lines, `${directory}/well.deb`);
  const before = leaseEnd(index);
  expect(before).toBeGreaterThan(Date.now() / 1000 + 30 * 86_400);
  // Leases end at a whole second.
  await sleep(1_100);
  await check();
  expect(leaseEnd(index)).toBeGreaterThan(before);
});

test("a file that lost a share is unhealthy: exit code 3, until --repair restores the share", async () => {
  const path = `${directory}/thin.deb`;
  const index = indexOf((await check("--json")).lines, path);
  rmSync(join(shareDirectory(index), "1"));

  const result = await check();
  expect(result.code).toBe(3);
  expect(result.output).toContain(`unhealthy: file ${path}: 2 of 3 shares, 1 needed; storage index ${index}\n`);
  expect(result.output).not.toContain("well.deb");

  const mended = await check("--json", "--repair");
  expect(mended.code).toBe(0);
  expect(mended.lines.find((line) => line.path === path)).toMatchObject({ state: "healthy", repaired: true });
  expect(readdirSync(shareDirectory(index)).toSorted()).toEqual(["0", "1", "2"]);
});

test("a directory is repaired with its write cap, and only reported with its read cap", async () => {
  const index = indexOf((await check("--json")).lines, directory);
  rmSync(join(shareDirectory(index), "0"));
  expect((await check("--repair")).code).toBe(3);
  expect(readdirSync(shareDirectory(index))).toHaveLength(2);
  const mended = await check("--repair", "--bundle", join(work, "bundle"));
  expect(mended.code).toBe(0);
  expect(mended.output).toContain(`repaired: directory ${directory}:`);
  expect(readdirSync(shareDirectory(index))).toHaveLength(3);
});

test("only --verify finds bytes that changed on a server", async () => {
  const index = indexOf((await check("--json")).lines, `${directory}/thin.deb`);
  const share = join(shareDirectory(index), "2");
  const bytes = readFileSync(share);
  writeFileSync(share, bytes.fill(0x41, 200, 300));
  expect((await check()).code).toBe(0);
  expect((await check("--verify")).code).toBe(3);
  expect((await check("--verify", "--repair")).output).toContain("thin.deb");
});

test("a file without shares is lost: exit code 4, and everything else is checked and renewed", async () => {
  const path = `${directory}/gone.deb`;
  rmSync(shareDirectory(indexOf((await check("--json")).lines, path)), { recursive: true });
  const { code, lines } = await check("--json", "--repair");
  expect(code).toBe(4);
  expect(stateOf(lines, path)).toBe("lost");
  expect(stateOf(lines, `${directory}/well.deb`)).toBe("healthy");
  expect(lines.at(-1)?.summary).toMatchObject({ lost: 1, renewed: 8 });
});

test("a package's file list, which is in no directory, is checked and renewed as well", async () => {
  const [content, list] = [Buffer.alloc(4_000, "d"), Buffer.alloc(4_000, "l")];
  const contents = await writer.upload(list, signal);
  const claim = { version: 1, sizeBytes: 4_000, sha256: "00".repeat(32) };
  const links = new Map([
    [
      "listed.deb",
      { content: await writer.upload(content, signal), metadata: { ...claim, contents: contents.reveal() } },
    ],
    [
      "odd.deb",
      { content: await writer.upload(Buffer.alloc(3_000), signal), metadata: { ...claim, contents: "nonsense" } },
    ],
  ]);
  await writer.link(await writer.makeDirectory(root, directory, signal), links, signal);
  const { lines } = await check("--json");
  const result = lines.filter(({ path }) => path === `${directory}/listed.deb`);
  expect(result.map(({ kind, state }) => `${kind} ${state}`)).toEqual(["file healthy", "file list healthy"]);
  expect(lines.at(-1)?.summary).toMatchObject({ unchecked: 0 });
});

test("a directory without shares is lost and hides its contents, but nothing else", async () => {
  await writer.put(root, parseTreePath("dists/other/main/source/x.dsc"), Buffer.alloc(3_000), signal);
  const index = indexOf((await check("--json")).lines, "dists/other/main");
  rmSync(shareDirectory(index), { recursive: true });
  const { code, lines } = await check("--json");
  expect(code).toBe(4);
  expect(stateOf(lines, "dists/other/main")).toBe("lost");
  expect(lines.filter(({ path }) => path?.startsWith("dists/other/main/"))).toEqual([]);
  expect(stateOf(lines, `${directory}/well.deb`)).toBe("healthy");
});

test("a malicious name is escaped for the terminal", async () => {
  const name = "a\u{202e}b";
  await writer.put(root, parseTreePath(name), Buffer.alloc(2_000), signal);
  rmSync(shareDirectory(indexOf((await check("--json")).lines, name)), { recursive: true });
  const { output } = await check();
  expect(output).toContain("lost: file a\\u{202e}b:");
  expect(output).not.toContain("\u{202e}");
});

test("without a tree, it is a usage error: 2; without a gateway, a failure: 1", async () => {
  const none = new CommandLine(["deep-check"]);
  expect(await none.ends()).toBe(2);
  expect(none.output).toContain("--webapi: is missing");
  const twice = await check("--bundle", join(work, "bundle"), "--webapi", grid.webapiUrl);
  expect(twice.code).toBe(2);
  await grid.stop();
  const down = await check();
  expect(down.code).toBe(1);
  expect(down.output).toMatch(/the connection to http:\/\/127\.0\.0\.1:\d+ failed/);
});
