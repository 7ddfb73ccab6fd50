// One builder's unreadable directory and slow packages do not affect another builder's uploads.
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, inject, onTestFinished, test } from "vitest";
import { aDeb, tarHeader } from "../support/debs.ts";
import { ServedGrid } from "../support/served-grid.ts";

const place = "dists/sid/main/binary-amd64";
const alice = `${place}/alice`;
const mallory = `${place}/mallory`;
const gibibyte = 2 ** 30;
const mostMs = 5000;

/**
 * A package with a high compression ratio is rejected by default. Here the limit is raised, so that it is inspected.
 */
const settings = "contents = true\n[limits.inspection]\nmax_data_ratio = 1_000_000";

async function served(): Promise<ServedGrid> {
  const grid = await ServedGrid.start(inject("webapiUrl"), settings);
  onTestFinished(() => grid.end());
  await grid.put(alice, new Map([["first_1_amd64.deb", await aDeb({ package: "first", architecture: "amd64" })]]));
  await grid.ping();
  return grid;
}

/** Uploads one package as alice, and pings. @returns how long publishing took after the ping, in ms */
async function aliceUploads(grid: ServedGrid, name: string): Promise<number> {
  const file = `${name}_1_amd64.deb`;
  await grid.put(alice, new Map([[file, await aDeb({ package: name, architecture: "amd64" })]]));
  const begunMs = performance.now();
  expect((await grid.ping(`${alice}/${file}`)).added).toEqual([`${alice}/${file}`]);
  return performance.now() - begunMs;
}

test("endless pings of a builder for its unreadable directory fail no other builder's pings", {
  timeout: 300_000,
}, async () => {
  const grid = await served();
  // Nothing is stored in the grid for this directory cap.
  const base32 = (length: number) =>
    [...randomBytes(length)].map((byte) => "abcdefghijklmnopqrstuvwxyz234567"[byte % 32]).join("");
  await grid.link(mallory, `URI:DIR2-RO:${base32(25)}a:${base32(51)}a`);
  let isOver = false;
  const attack = (async () => {
    const answers: Promise<{ readonly status: number; readonly text: string }>[] = [];
    for (; !isOver; await sleep(60_000 / 110)) answers.push(grid.answerTo(mallory));
    return await Promise.all(answers);
  })();
  const tookMs: number[] = [];
  for (let n = 0; n < 20; n++) tookMs.push(await aliceUploads(grid, `p${n}`));
  isOver = true;
  expect(Math.max(...tookMs)).toBeLessThan(mostMs);
  for (const { status, text } of await attack) expect([status, text]).toEqual([503, expect.stringContaining(mallory)]);
});

test("packages that take long to inspect do not delay other builders' packages", { timeout: 600_000 }, async () => {
  const grid = await served();
  const zeros = `(cat; head -c ${gibibyte + 1024} /dev/zero) | xz -0`;
  const content = execFileSync("bash", ["-o", "pipefail", "-c", zeros], { input: tarHeader("./zeros", gibibyte) });
  const bombs = new Map<string, Uint8Array>();
  for (let n = 0; n < 16; n++) {
    const deb = await aDeb({
      package: `slow${n}`,
      architecture: "amd64",
      members: (usual) => [...usual.slice(0, 2), { name: "data.tar.xz", content }],
    });
    bombs.set(`slow${n}_1_amd64.deb`, deb);
  }
  await grid.put(mallory, bombs);
  let isOver = false;
  const attack = grid.answerTo(mallory).finally(() => {
    isOver = true;
  });
  // This page also lists the files that are being inspected.
  const page = async () => await (await fetch(`${grid.url}/-/rejects`)).text();
  await expect.poll(page, { timeout: 30_000 }).toContain("slow0_1_amd64.deb");
  const tookMs: number[] = [];
  for (let n = 0; n < 10 && !isOver; n++) tookMs.push(await aliceUploads(grid, `p${n}`));
  expect(isOver).toBe(false);
  expect(Math.max(...tookMs)).toBeLessThan(mostMs);
  expect((await attack).status).toBe(200);
});
