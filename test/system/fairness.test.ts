// One builder's unreadable directory, and packages that take long to inspect, against another builder's uploads.
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

async function served(): Promise<ServedGrid> {
  const grid = await ServedGrid.start(
    inject("webapiUrl"),
    `contents = true\n${process.env.FAIR_SETTINGS ?? "[limits.inspection]\nmax_data_ratio = 1_000_000"}`,
  );
  onTestFinished(() => grid.end());
  await grid.put(alice, new Map([["first_1_amd64.deb", await aDeb({ package: "first", architecture: "amd64" })]]));
  await grid.ping();
  return grid;
}

/** Uploads one package more as alice, and pings for it. @returns how long that took until it was servable, in ms */
async function aliceUploads(grid: ServedGrid, name: string): Promise<number> {
  const file = `${name}_1_amd64.deb`;
  await grid.put(alice, new Map([[file, await aDeb({ package: name, architecture: "amd64" })]]));
  const begunMs = performance.now();
  const { status, text } = await grid.answerTo(`${alice}/${file}`);
  expect(`${status} ${text}`).toContain("200 ");
  expect(JSON.parse(text)).toMatchObject({ added: [`${alice}/${file}`] });
  return performance.now() - begunMs;
}

test("a builder that pings its unreadable directory without an end fails nobody else's pings", {
  timeout: 300_000,
}, async () => {
  const grid = await served();
  // Nobody has ever stored this directory.
  const base32 = (bytes: number) =>
    [...randomBytes(bytes)].map((byte) => "abcdefghijklmnopqrstuvwxyz234567"[byte % 32]).join("");
  await grid.link(mallory, `URI:DIR2-RO:${base32(25)}a:${base32(51)}a`);
  let isOver = false;
  const refused: string[] = [];
  const attack = (async () => {
    while (!isOver) {
      void grid.answerTo(mallory).then(({ status, text }) => refused.push(`${status} ${text}`));
      await sleep(60_000 / 110);
    }
  })();
  const statuses: string[] = [];
  const tookMs: number[] = [];
  for (let n = 0; n < 20; n++) {
    try {
      tookMs.push(await aliceUploads(grid, `p${n}`));
      statuses.push("200");
    } catch (thrown) {
      statuses.push(String((thrown as Error).message).slice(0, 200));
    }
  }
  isOver = true;
  await attack;
  console.log(
    "unreadable:",
    statuses.filter((s) => s === "200").length,
    "of 20; slowest",
    Math.max(...tookMs),
    "refusals",
    refused.length,
    refused[0],
    statuses.find((s) => s !== "200"),
  );
  expect(statuses).toEqual(Array(20).fill("200"));
  expect(Math.max(...tookMs)).toBeLessThan(5000);
  expect(refused.length).toBeGreaterThan(0);
  for (const refusal of refused) expect(refusal).toMatch(/^503 /);
});

test("packages that take long to inspect hold up nobody else's", { timeout: 600_000 }, async () => {
  const grid = await served();
  const data = execFileSync("bash", ["-c", `set -o pipefail; (cat; head -c ${gibibyte + 1024} /dev/zero) | xz -0`], {
    input: tarHeader("./zeros", gibibyte),
    maxBuffer: 2 ** 30,
  });
  const bombs = new Map<string, Uint8Array>();
  for (let n = 0; n < 16; n++) {
    const deb = await aDeb({
      package: `slow${n}`,
      architecture: "amd64",
      members: (usual) => [...usual.slice(0, 2), { name: "data.tar.xz", content: data }],
    });
    bombs.set(`slow${n}_1_amd64.deb`, deb);
  }
  await grid.put(mallory, bombs);
  const begunMs = performance.now();
  let isOver = false;
  const attack = grid.answerTo(mallory).then((answer) => {
    isOver = true;
    return { ...answer, seconds: (performance.now() - begunMs) / 1000 };
  });
  await sleep(1000);
  const tookMs: number[] = [];
  for (let n = 0; n < 6 && !isOver; n++) tookMs.push(await aliceUploads(grid, `p${n}`));
  console.log("bombs:", tookMs.map(Math.round), "over", isOver, (performance.now() - begunMs) / 1000);
  const { status, text, seconds } = await attack;
  console.log("attack ended", status, seconds, text.slice(0, 200), "size", data.length);
  expect(tookMs.length).toBeGreaterThan(0);
  expect(Math.max(...tookMs)).toBeLessThan(5000);
});
