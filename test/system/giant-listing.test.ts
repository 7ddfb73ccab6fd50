// A builder's listing of 130 MB of JSON: other uploads and all requests continue while it is read.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import fetch from "node-fetch";
import { afterAll, expect, test } from "vitest";
import { aDeb } from "../support/debs.ts";
import type { FakeGateway } from "../support/fake-gateway.ts";
import { fakeGateway } from "../support/fake-gateway.ts";
import { cap } from "../support/gateway-subject.ts";
import { ServerUnderTest } from "../support/server.ts";

const work = mkdtempSync(join(tmpdir(), "tahoe-apt-giant-"));
const token = "0123456789abcdef0123";
const mebibyte = 2 ** 20;
const binaries = "dists/sid/main/binary-amd64";
let gateway: FakeGateway | undefined;
let server: ServerUnderTest | undefined;

afterAll(async () => {
  await server?.end();
  await gateway?.end();
  rmSync(work, { recursive: true });
});

const directory = (names: readonly string[]): string =>
  JSON.stringify(["dirnode", { children: Object.fromEntries(names.map((name) => [name, ["dirnode", {}]])) }]);

/** The cap of a content with this size. */
const capOf = (number: number, bytes: number): string => {
  const digits = number.toString().replaceAll(/\d/g, (digit) => "abcdefghij"[Number(digit)] ?? "");
  return `URI:CHK:${"a".repeat(26)}:${digits.padStart(52, "z")}:1:1:${bytes}`;
};

const fileEntry = (number: number, bytes: number, apt?: unknown): unknown => {
  const tahoe = { linkcrtime: 1_700_000_000 + number, linkmotime: 1_700_000_000 + number };
  return ["filenode", { mutable: false, ro_uri: capOf(number, bytes), metadata: { tahoe, apt } }];
};

/** 130 MB: 2,400 packages, each with a description of 9,000 characters that take six bytes as JSON. */
function giantListing(): Buffer {
  const children: string[] = [];
  const long = "\\u00e9".repeat(9000);
  for (let n = 0; n < 2400; n++) {
    const control = `Package: p${n}\nVersion: 1.0\nArchitecture: amd64\nMaintainer: a <a@b.c>\nDescription: LONG\n`;
    const sha256 = n.toString(16).padStart(64, "0");
    const apt = { version: 1, sizeBytes: 1234, md5: sha256.slice(32), sha256, builtAtSeconds: 1, control };
    children.push(`"p${n}_1.0_amd64.deb": ${JSON.stringify(fileEntry(n, 1234, apt)).replace("LONG", long)}`);
  }
  return Buffer.from(`["dirnode", {"children": {${children.join(", ")}}}]`);
}

test("while a giant listing is read repeatedly, others publish within 5 s, and requests are answered", async () => {
  const deb = await aDeb({ package: "hello", architecture: "amd64" });
  const giant = giantListing();
  expect(giant.length).toBeGreaterThan(125e6);
  let uploads = 0;
  let isAttacked = false;
  gateway = await fakeGateway((request, response) => {
    const [path = "", query] = decodeURIComponent(request.url ?? "").split("?");
    const at = path.split("/").slice(3).join("/");
    const listings: Readonly<Record<string, string | Buffer>> = {
      "": directory(["dists"]),
      dists: directory(["sid"]),
      "dists/sid": directory(["main"]),
      "dists/sid/main": directory(["binary-amd64"]),
      [binaries]: directory(["alice", ...(isAttacked ? ["mallory"] : [])]),
      [`${binaries}/alice`]: JSON.stringify([
        "dirnode",
        { children: { "hello_1.0-1_amd64.deb": fileEntry(100_000 + uploads, deb.length) } },
      ]),
      ...(isAttacked && { [`${binaries}/mallory`]: giant }),
    };
    if (query !== "t=json") response.end(deb);
    else if (listings[at] === undefined) response.writeHead(404).end();
    else response.end(listings[at]);
  });
  writeFileSync(join(work, "readcap"), cap.reveal(), { mode: 0o600 });
  writeFileSync(join(work, "token"), token, { mode: 0o600 });
  const repository = `name = "debian"\nwebapi = "${gateway.url}"\nreadcap_file = "readcap"\nping_token_file = "token"`;
  const toml = `state = "state"\npoll_seconds = 100000\n[[repository]]\n${repository}\n`;
  writeFileSync(join(work, "c.toml"), toml);
  server = await ServerUnderTest.start({ flags: ["--config", join(work, "c.toml")] });
  await server.ready();
  const { url } = server;
  const ping = async (path: string): Promise<number> => {
    const begunMs = performance.now();
    const headers = { Authorization: `Bearer ${token}` };
    const reply = await fetch(`${url}/-/ping/debian/${path}?wait=240`, { method: "POST", headers });
    expect(await reply.json()).toMatchObject({ status: "servable" });
    return (performance.now() - begunMs) / 1000;
  };
  await ping("dists/sid");

  isAttacked = true;
  const memory = async (): Promise<number> => {
    const metrics = await (await fetch(`${url}/metrics`)).text();
    return Number(/^process_resident_memory_bytes (\S+)/m.exec(metrics)?.[1]) / mebibyte;
  };
  // Its packages are published once. Every further listing adds nothing; this test is about those.
  await ping(`${binaries}/mallory`);
  const before = await memory();
  let grown = 0;
  let isOver = false;
  let longestSeconds = 0;
  const readers = (async () => {
    while (!isOver) {
      const begunMs = performance.now();
      await (await fetch(`${url}/debian/dists/sid/InRelease`)).text();
      longestSeconds = Math.max(longestSeconds, (performance.now() - begunMs) / 1000);
      await wait(20);
    }
  })();
  const attack = (async () => {
    for (let look = 0; look < 3; look++) await ping(`${binaries}/mallory`);
  })();
  const seconds: number[] = [];
  const attacked = attack.then(() => {
    isOver = true;
  });
  while (!isOver) {
    await Promise.race([wait(500), attacked]);
    uploads += 1;
    seconds.push(await ping(`${binaries}/alice`));
    grown = Math.max(grown, (await memory()) - before);
  }
  await readers;
  expect(Math.max(...seconds)).toBeLessThan(5);
  // The goal is half a second on an idle machine. In one piece, parsing alone takes more than a second.
  expect(longestSeconds).toBeLessThan(1);
  expect(grown).toBeLessThan(250);
}, 400_000);
