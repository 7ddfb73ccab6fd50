// Clients with slow clocks, with apt 2.6 (gpgv) and apt 3 (sqv): they accept a new publication at once.
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import type { AptRun } from "../support/apt.ts";
import { AptRoot } from "../support/apt.ts";
import { Apt3 } from "../support/apt3.ts";
import { clockBehind } from "../support/client-clock.ts";
import { aDeb } from "../support/debs.ts";
import { ServerUnderTest } from "../support/server.ts";

const setUpMs = 480_000;
const burst = 30;
const burstEveryMs = 500;
const place = "dists/sid/main/binary-amd64";
const token = "the-token-of-a-test-of-clocks";

const work = mkdtempSync(join(tmpdir(), "tahoe-apt-clocks-"));
let server: ServerUnderTest;
let publicKey: string;
let apt3: Apt3;

const repository = (): string => `${server.url}/debian`;

interface Published {
  readonly id: string;
  readonly dateSeconds: number;
  /** When the ping was sent, and when its response arrived, in ms since the epoch. */
  readonly pingedMs: number;
  readonly answeredMs: number;
}

async function upload(name: string): Promise<Published> {
  writeFileSync(join(work, "new"), await aDeb({ package: name, architecture: "amd64" }));
  renameSync(join(work, "new"), join(work, "tree", place, `${name}.deb`));
  const pingedMs = Date.now();
  const headers = { authorization: `Bearer ${token}` };
  const reply = await fetch(`${server.url}/-/ping/debian/${place}?wait=60`, { method: "POST", headers });
  const { publications } = (await reply.json()) as { publications: readonly { id: string; dateSeconds: number }[] };
  const [{ id, dateSeconds } = { id: "", dateSeconds: 0 }] = publications;
  return { id, dateSeconds, pingedMs, answeredMs: Date.now() };
}

/** apt 2.6 and apt 3, each with its own lists, update from one address with a slow clock. */
async function updates(url: string, behindSeconds: number): Promise<readonly AptRun[]> {
  const environment = clockBehind(behindSeconds);
  const source = { url, suite: "sid", publicKey };
  const machine = new AptRoot({ source, environment });
  onTestFinished(() => machine.close());
  const old = await machine.run("apt-get", "update", "--error-on=any");
  const sources = JSON.stringify(["Types: deb", `URIs: ${url}`, "Suites: sid", "Components: main"].join("\\n"));
  const tell = `printf ${sources}'\\nSigned-By: /etc/key.asc\\n' >/etc/apt/sources.list.d/it.sources`;
  const young = await apt3.run(`${tell}; apt-get update --error-on=any`, environment);
  return [old, young];
}

beforeAll(async () => {
  mkdirSync(join(work, "tree", place), { recursive: true });
  writeFileSync(join(work, "token"), token, { mode: 0o600 });
  server = await ServerUnderTest.withRepository(work, [
    `folder = ${JSON.stringify(join(work, "tree"))}`,
    `ping_token_file = ${JSON.stringify(join(work, "token"))}`,
    "contents = false",
  ]);
  publicKey = await (await fetch(`${repository()}/key.asc`)).text();
  apt3 = await Apt3.start();
  for (const line of publicKey.trimEnd().split("\n")) await apt3.run(`echo '${line}' >>/etc/key.asc`);
}, setUpMs);

afterAll(async () => {
  await apt3?.close();
  await server?.end();
  rmSync(work, { recursive: true, force: true });
});

test("a client whose clock is 50 seconds slow accepts a single publication at once", async () => {
  await sleep(1000);
  await upload("single");
  for (const { exitCode, output } of await updates(repository(), 50)) expect([exitCode, output]).toEqual([0, output]);
  // A slower clock than the lag fails: in apt 2.6 because of the Date, in apt 3 because of the signature.
  await upload("another");
  for (const { exitCode, output } of await updates(repository(), 90))
    expect([exitCode, output]).not.toEqual([0, output]);
});

test("of thirty pings in fifteen seconds none waits for the clock, and a client that is 20 seconds slow accepts each", {
  timeout: 300_000,
}, async () => {
  // The lag that the previous test has used up is restored.
  await sleep(5000);
  const published: Published[] = [];
  const beganMs = Date.now();
  for (let n = 0; n < burst; n++) {
    published.push(await upload(`burst-${n}`));
    await sleep(Math.max(0, beganMs + (n + 1) * burstEveryMs - Date.now()));
  }
  const waited = published.map(({ pingedMs, answeredMs }) => answeredMs - pingedMs).toSorted((a, b) => a - b);
  process.stderr.write(
    `burst: ${burst} pings in ${Date.now() - beganMs} ms; median ${waited[burst >> 1]} ms, longest ${waited.at(-1)} ms\n`,
  );
  expect(new Set(published.map(({ id }) => id)).size).toBe(burst);
  // A ping that waits for the clock gets its response when Date is ten seconds old.
  for (const { pingedMs, dateSeconds } of published) expect(pingedMs / 1000 - dateSeconds).toBeGreaterThan(20);
  for (const { id, answeredMs } of published) {
    const behindSeconds = 20 + Math.floor((Date.now() - answeredMs) / 1000);
    const [old, young] = await updates(`${repository()}/snapshots/${id}`, behindSeconds);
    expect([id, old?.exitCode, old?.output]).toEqual([id, 0, old?.output]);
    expect([id, young?.exitCode, young?.output]).toEqual([id, 0, young?.output]);
  }
});
