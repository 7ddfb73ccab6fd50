// Two real servers of one folder, one key and one Valkey: what they show, how a changed configuration reaches both, and a
// publisher that was paused.
import { randomUUID } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { Agent } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import fetch from "node-fetch";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { runCommand } from "../support/command-line.ts";
import { aDeb, aDsc } from "../support/debs.ts";
import { isUsed } from "../support/replicas.ts";
import { ServerUnderTest } from "../support/server.ts";
import { aQuickKey } from "../support/signing-key.ts";
import { ValkeyUnderTest } from "../support/valkey.ts";

const amd64 = "dists/sid/main/binary-amd64";
const publicUrl = "https://apt.example.org";
const long = 120_000;
const patience = { timeout: 30_000, interval: 50 };

interface Replica {
  readonly name: string;
  readonly config: string;
  readonly server: ServerUnderTest;
}

let work: string;
let valkey: ValkeyUnderTest;
let replicas: readonly Replica[] = [];
/** Each request has a connection of its own: clients that use plain names get what they have begun with. */
const agent = new Agent({ keepAlive: false });

function write(path: string, content: string | Uint8Array): void {
  mkdirSync(dirname(join(work, path)), { recursive: true });
  writeFileSync(join(work, path), content, { mode: 0o600 });
}

const put = async (name: string, version: string, directory = amd64, more = {}): Promise<void> => {
  const bytes = await aDeb({ package: name, version, architecture: "amd64", ...more });
  write(`tree/${directory}/${name}_${version}_amd64.deb`, bytes);
};

/** @param more lines of the repository's table, and tables after it */
const configure = (name: string, more = ""): void =>
  write(
    `${name}.toml`,
    `state = "state-${name}"
public_url = "${publicUrl}"
[cluster]
url = "${valkey.url}"
name = "apt"
[limits.http]
pings_per_minute = 1000
[[repository]]
name = "debian"
folder = "tree"
flat = ["flat"]
contents = true
signing_key_file = "key.asc"
ping_token_file = "${name}.token"
${more}`,
  );

beforeAll(async () => {
  work = mkdtempSync(join(tmpdir(), "tahoe-apt-servers-"));
  valkey = await ValkeyUnderTest.start();
  await isUsed({ settings: () => valkey.settings("apt") });
  write("key.asc", await aQuickKey());
  await put("hello", "1", `${amd64}/alice`, { files: { "./usr/bin/hello": "" }, fields: { Depends: "more" } });
  await put("more", "1", `${amd64}/bob`);
  await put("flat", "1", "flat");
  for (const [name, bytes] of aDsc({ source: "greet" }).files) write(`tree/dists/sid/main/source/${name}`, bytes);
  write(`tree/${amd64}/bob/broken_1_amd64.deb`, "this is no package");
  replicas = await Promise.all(["one", "two"].map(start));
});

afterAll(async () => {
  for (const { server } of replicas) process.kill(server.pid, "SIGCONT");
  await Promise.all(replicas.map(({ server }) => server.end("SIGKILL")));
  await valkey?.stop();
  rmSync(work, { recursive: true, force: true });
});

async function start(name: string): Promise<Replica> {
  configure(name);
  write(`${name}.token`, tokenOf("first"));
  const config = join(work, `${name}.toml`);
  const server = await ServerUnderTest.start({ flags: ["--config", config] });
  await server.ready();
  return { name, config, server };
}

const tokenOf = (which: string): string => `the-${which}-token-of-two-servers`;

async function ping({ server }: Replica, token = tokenOf("first"), repository = "debian"): Promise<number> {
  const headers = { authorization: `Bearer ${token}` };
  const reply = await fetch(`${server.url}/-/ping/${repository}?wait=30`, { method: "POST", headers });
  await reply.arrayBuffer();
  return reply.status;
}

const reply = async ({ server }: Replica, path: string): Promise<string> => {
  const headers = { accept: "text/html", "user-agent": randomUUID() };
  const answered = await fetch(server.url + path, { headers, agent, redirect: "manual" });
  return `${answered.status}\n${await answered.text()}`;
};

/** The same response of all. What pages and the API read follows a publication a moment later, on each by itself. */
async function equal(path: string): Promise<string> {
  return await vi.waitFor(async () => {
    const [one = "", other] = await Promise.all(replicas.map((replica) => reply(replica, path)));
    expect(other, path).toBe(one);
    return one;
  }, 10_000);
}

const release = (replica: Replica, repository = "debian"): Promise<string> =>
  reply(replica, `/${repository}/dists/sid/InRelease`);

async function publisherAndOther(): Promise<readonly [Replica, Replica]> {
  let found: readonly [Replica, Replica] | undefined;
  await expect
    .poll(async () => {
      const metrics = await Promise.all(replicas.map((each) => reply(each, "/metrics")));
      const holds = metrics.map((text) => /^tahoe_apt_cluster_lease_held\{repository="debian"\} 1$/m.test(text));
      const [one, two] = replicas;
      if (one !== undefined && two !== undefined && holds[0] !== holds[1]) found = holds[0] ? [one, two] : [two, one];
      return found !== undefined;
    }, patience)
    .toBe(true);
  if (found === undefined) throw new Error("nobody publishes");
  return found;
}

/** Resolves when both have the same publications, with deferred files, and the same index of packages. */
async function agreed(): Promise<void> {
  const state = async (replica: Replica): Promise<string> => {
    const api = "/-/api/v1/repositories/debian";
    const parts = ["/debian/dists/sid/InRelease", "/debian/flat/InRelease", api, `${api}/packages`, `${api}/snapshots`];
    return (await Promise.all(parts.map((path) => reply(replica, path)))).join("\n");
  };
  await expect
    .poll(async () => {
      const [one = "", other] = await Promise.all(replicas.map(state));
      return one === other && one.includes('"isIndexing":false') && one.includes("Contents-amd64");
    }, patience)
    .toBe(true);
}

test("pages, the JSON API, feeds, flat repositories and all files are the same at all of them", {
  timeout: long,
}, async () => {
  await put("hello", "2", `${amd64}/alice`, { files: { "./usr/bin/hello": "" } });
  expect(await Promise.all(replicas.map((replica) => ping(replica)))).toEqual([200, 200]);
  await agreed();
  const api = "/-/api/v1/repositories/debian";
  const resources = [
    "/filters",
    "/packages?text=hello",
    "/packages/hello",
    "/packages/more/dependents",
    "/sources/greet",
  ];
  const lists = ["/builders", "/uploads", "/rejects", "/pending", "/snapshots"];
  for (const path of ["", ...resources, ...lists]) expect(await equal(api + path), path).toMatch(/^200\n/);
  const { entries: snapshots } = JSON.parse((await equal(`${api}/snapshots`)).slice(4)) as {
    readonly entries: readonly { readonly suite: string; readonly id: string }[];
  };
  for (const { id, suite } of snapshots)
    if (suite === "sid") await equal(`/debian/snapshots/${id}/dists/sid/InRelease`);
  // Everything that pages link to. What each server measures by itself is on the page about its health.
  const seen = new Set(["/debian/"]);
  for (const path of seen) {
    if (path.startsWith("/debian/-/health")) continue;
    const page = await equal(path);
    expect(page, path).toMatch(/^[23]/);
    for (const [, href = ""] of page.matchAll(/ href="([^"]+)"/g)) {
      const url = new URL(href.replaceAll("&amp;", "&"), publicUrl + path);
      if (url.origin === publicUrl && seen.size < 400) seen.add(url.pathname + url.search);
    }
  }
  expect(seen.size).toBeGreaterThan(60);
  for (const part of ["/debian/-/packages/hello", "/debian/flat/", "/debian/-/rejects"])
    expect([...seen].join("\n")).toContain(part);
});

test("a changed configuration has effect with the reload of each, and nothing changes to and fro until all have it", {
  timeout: long,
}, async () => {
  const [publisher, other] = await publisherAndOther();
  await agreed();
  write("extra/dists/sid/main/binary-amd64/extra_1_amd64.deb", await aDeb({ package: "extra", architecture: "amd64" }));
  const change = async (replica: Replica): Promise<void> => {
    const { name, config } = replica;
    const extra = `[[repository]]\nname = "extra"\nfolder = "extra"\nsigning_key_file = "key.asc"\nping_token_file = "${name}.token"\n`;
    configure(name, `[repository.suite.sid.view]\nhide = ["more"]\n${extra}`);
    write(`${name}.token`, tokenOf("second"));
    expect(await runCommand(["reload", "--config", config])).toMatchObject({ exitCode: 0 });
    await expect.poll(() => reply(replica, "/readyz"), patience).toMatch(/^200/);
  };
  const before = await release(publisher);
  await change(other);
  expect(await release(other)).toBe(before);
  // The publisher's configuration counts: it knows the old token, and no view.
  expect([await ping(other, tokenOf("second")), await ping(publisher)]).toEqual([200, 200]);
  expect([await ping(other), await ping(publisher, tokenOf("second"))]).toEqual([401, 401]);
  expect([await release(other), await release(publisher)]).toEqual([before, before]);
  expect(await ping(other, tokenOf("second"), "extra")).toBe(200);
  expect(await release(other, "extra")).toMatch(/^200/);
  expect(await release(publisher, "extra")).toMatch(/^404/);
  await expect.poll(() => publisher.server.output, patience).toContain("the configuration of another replica differs");
  await put("more", "2", `${amd64}/bob`);
  expect(await ping(other, tokenOf("second"))).toBe(200);
  expect(await equal(`/debian/${amd64}/Packages`)).toContain("Package: more");

  await change(publisher);
  await expect.poll(() => reply(other, `/debian/${amd64}/Packages`), patience).not.toContain("Package: more");
  expect(await Promise.all(replicas.map((replica) => ping(replica, tokenOf("second"))))).toEqual([200, 200]);
  await agreed();
  for (const path of ["dists/sid/InRelease", `${amd64}/Packages`, "flat/Packages"]) await equal(`/debian/${path}`);
  expect(await equal("/extra/dists/sid/InRelease")).toMatch(/^200/);
  await expect
    .poll(async () => (await runCommand(["cluster", "status", "--config", other.config])).output, patience)
    .not.toContain("different settings");
});

test("of two publishers, one of which was paused, only the later one publishes, and Date never goes back", {
  timeout: long,
}, async () => {
  const [publisher, other] = await publisherAndOther();
  const token = readFileSync(join(work, "one.token"), "utf8");
  const dates = new Map<Replica, string[]>(replicas.map((replica) => [replica, []]));
  const look = async (replica: Replica): Promise<void> => {
    const [date = ""] = /^Date: .*$/m.exec(await release(replica)) ?? [];
    dates.get(replica)?.push(new Date(date.slice(6)).toISOString());
  };
  // It stops somewhere in the middle of a publication.
  await put("paused", "1");
  const unanswered = ping(publisher, token).catch(() => undefined);
  await look(publisher);
  process.kill(publisher.server.pid, "SIGSTOP");
  await put("meanwhile", "1");
  await expect.poll(() => ping(other, token), { timeout: 40_000, interval: 200 }).toBe(200);
  const published = await reply(other, `/debian/${amd64}/Packages`);
  for (const name of ["paused", "meanwhile"]) expect(published).toContain(`Package: ${name}\n`);
  await look(other);
  process.kill(publisher.server.pid, "SIGCONT");
  for (let n = 0; n < 30; n++) for (const replica of replicas) await look(replica);
  await put("afterwards", "1");
  await expect.poll(() => ping(publisher, token), { timeout: 40_000, interval: 200 }).toBe(200);
  for (const replica of replicas) await look(replica);
  await unanswered;
  // What the paused one answers after it continues is at least what the other one has published.
  const [own = [], others = []] = [dates.get(publisher), dates.get(other)];
  for (const each of [own, others]) expect(each).toEqual(each.toSorted());
  expect((own[1] ?? "") >= (others[0] ?? "~")).toBe(true);
  await agreed();
  expect(await equal(`/debian/${amd64}/Packages`)).toContain("Package: afterwards\n");
});
