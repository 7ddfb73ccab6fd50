// What replicas know together about clients, in a real Valkey: who reads which publication by plain names, and how often
// somebody has failed to log in or has pinged.
import { createHash } from "node:crypto";
import { afterEach, expect, test, vi } from "vitest";
import { silentLog } from "../../src/base/log.ts";
import type { Suite } from "../../src/base/names.ts";
import { parseRepositoryName, parseSuite, rootPath } from "../../src/base/names.ts";
import { Secret } from "../../src/base/secret.ts";
import { FleetCounter } from "../../src/cluster/counters.ts";
import { FleetSessions } from "../../src/cluster/sessions.ts";
import { Valkey } from "../../src/cluster/valkey.ts";
import type { AppOptions, FleetMemory } from "../../src/http/app.ts";
import type { ClientSession } from "../../src/publishing/served-repository.ts";
import { aDeb } from "../support/debs.ts";
import { ServedFolder } from "../support/served-folder.ts";
import type { StartedApp } from "../support/started-app.ts";
import { startApp } from "../support/started-app.ts";
import { ask } from "../support/transcript.ts";
import { ValkeyUnderTest } from "../support/valkey.ts";

const place = "dists/sid/main/binary-amd64";
const suite = "/debian/dists/sid";
const packages = `${suite}/main/binary-amd64/Packages`;
const token = "a-token-that-two-replicas-know";
const reader = { name: "bob", password: new Secret("correct horse") };
const undo: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

interface TwoReplicasOptions extends Partial<AppOptions> {
  readonly isFleet?: boolean;
  readonly configuredSuites?: readonly Suite[];
}

/** Two servers of one repository, with a Valkey unless they are to be alone. */
class TwoReplicas {
  readonly valkey: ValkeyUnderTest;
  readonly one: StartedApp;
  readonly other: StartedApp;
  readonly #served: ServedFolder;
  readonly #connections: readonly Valkey[];
  #count = 0;

  private constructor(parts: {
    readonly valkey: ValkeyUnderTest;
    readonly apps: readonly StartedApp[];
    readonly served: ServedFolder;
    readonly connections: readonly Valkey[];
  }) {
    this.valkey = parts.valkey;
    const [one, other] = parts.apps;
    if (one === undefined || other === undefined) throw new Error("two are needed");
    this.one = one;
    this.other = other;
    this.#served = parts.served;
    this.#connections = parts.connections;
  }

  static async start(options: TwoReplicasOptions = {}): Promise<TwoReplicas> {
    const { isFleet = true, configuredSuites = [], ...rest } = options;
    const served = new ServedFolder({ configuredSuites });
    const valkey = await ValkeyUnderTest.start();
    undo.push(() => valkey.stop());
    const connections = [1, 2].map(() => new Valkey(valkey.settings(), silentLog));
    undo.push(() => connections.map((connection) => connection.close()));
    const apps = await Promise.all(
      connections.map((connection) =>
        startApp([served.repository], {
          behindProxy: true,
          tokens: new Map([[served.repository.name, () => [{ token: new Secret(token), scope: rootPath }]]]),
          ...(isFleet && { fleet: fleetMemory(connection) }),
          ...rest,
        }),
      ),
    );
    undo.push(() => Promise.all(apps.map((app) => app.stop(0))));
    const two = new TwoReplicas({ valkey, apps, served, connections });
    await two.connected(true);
    await two.publish();
    return two;
  }

  async publish(): Promise<void> {
    this.#count += 1;
    const name = `package-${this.#count}`;
    this.#served.put(
      `${place}/${name}.deb`,
      await aDeb({ package: name, architecture: "amd64" }),
      1_700_000_000 + this.#count,
    );
    await this.#served.ping();
  }

  /** Calls a function with the session of each request that needs one. */
  observeSessions(observe: (session: ClientSession | undefined) => void): void {
    const { repository } = this.#served;
    const findNow = repository.findNow.bind(repository);
    repository.findNow = (path, session) => {
      observe(session);
      return findNow(path, session);
    };
  }

  async connected(isConnected: boolean): Promise<void> {
    for (const each of this.#connections)
      await vi.waitFor(() => expect(each.isConnected).toBe(isConnected), { timeout: 10_000 });
  }

  /** The keys in Valkey. */
  async keys(): Promise<readonly string[]> {
    const [first] = this.#connections;
    return (await first?.run((redis) => redis.keys("*"))) ?? [];
  }
}

const fleetMemory = (valkey: Valkey): FleetMemory => ({
  counter: (name, seconds) => new FleetCounter(valkey, name, seconds),
  sessions: new FleetSessions(valkey, new Secret("a read cap")),
  notReady: () => undefined,
});

const get = async (app: StartedApp, path: string, client = "192.0.2.1", headers = {}) =>
  await ask(app.address.port, "GET", path, { "X-Forwarded-For": client, "User-Agent": "mirror/1", ...headers });

const text = async (app: StartedApp, path: string, client?: string): Promise<string> =>
  (await get(app, path, client)).body.toString();

const lists = (release: string, index: string): boolean =>
  release.includes(createHash("sha256").update(index).digest("hex"));

const basic = (password: string) => ({ Authorization: `Basic ${Buffer.from(`bob:${password}`).toString("base64")}` });

test("a client gets plain names of the publication whose Release it got from another replica", async () => {
  const two = await TwoReplicas.start();
  const older = await text(two.one, `${suite}/InRelease`);
  await two.publish();
  expect(lists(older, await text(two.other, packages))).toBe(true);
  const newer = await text(two.other, `${suite}/InRelease`);
  expect(newer).not.toBe(older);
  await two.publish();
  expect(lists(newer, await text(two.one, packages))).toBe(true);
  // Another client does not.
  expect(lists(newer, await text(two.one, packages, "192.0.2.2"))).toBe(false);
});

test("without a fleet the other replica serves its newest publication, which is noticed", async () => {
  const two = await TwoReplicas.start({ isFleet: false });
  const older = await text(two.one, `${suite}/InRelease`);
  await two.publish();
  expect(lists(older, await text(two.other, packages))).toBe(false);
});

test("Release and InRelease in quick succession are of one publication, from whichever replica", async () => {
  const nowMs = Date.now();
  const two = await TwoReplicas.start({ clock: () => nowMs });
  const first = await text(two.one, `${suite}/Release`);
  await two.publish();
  expect(await text(two.other, `${suite}/InRelease`)).toContain(first.trimEnd());
});

/** The header field by which the load balancer remembers what a client reads. */
const field = "tahoe-apt-publication";

/** A load balancer that remembers what one client reads, before replicas that have lost Valkey. */
async function remembering() {
  const two = await TwoReplicas.start();
  await two.valkey.kill();
  await two.connected(false);
  let remembered = "0";
  const through = async (app: StartedApp, path: string): Promise<string> => {
    const { headers, body } = await get(app, path, undefined, { [field]: remembered });
    remembered = headers[field]?.toString() ?? remembered;
    return body.toString();
  };
  return { two, through };
}

test("without Valkey a client gets plain names of the publication that the load balancer remembers", async () => {
  const { two, through } = await remembering();
  const older = await through(two.one, `${suite}/InRelease`);
  await two.publish();
  expect(lists(older, await through(two.other, packages))).toBe(true);
  const newer = await through(two.other, `${suite}/InRelease`);
  expect(newer).not.toBe(older);
  await two.publish();
  // This replica knows that the client got the older one from it.
  expect(lists(newer, await through(two.one, packages))).toBe(true);
  expect(lists(older, await text(two.one, packages))).toBe(true);
});

test("an unchanged InRelease is remembered as well", async () => {
  const two = await TwoReplicas.start();
  const { headers } = await get(two.one, `${suite}/InRelease`);
  const again = await get(two.other, `${suite}/InRelease`, undefined, { "If-None-Match": headers.etag ?? "" });
  expect([again.status, again.headers[field]]).toEqual([304, headers[field]]);
  expect(headers[field]).toMatch(/^\d{10}$/);
});

test("a replica that lacks what the load balancer remembers answers with 503, so that another one is asked", async () => {
  const two = await TwoReplicas.start();
  expect((await get(two.one, packages, undefined, { [field]: "4000000000" })).status).toBe(503);
  expect((await get(two.one, `${suite}/InRelease`, undefined, { [field]: "4000000000" })).status).toBe(200);
  for (const unknown of ["0", "", "x", "-1", "1".repeat(30)])
    expect((await get(two.one, packages, undefined, { [field]: unknown })).status).toBe(200);
});

test("what is remembered for a suite in whose directory there is another one may be about that one", async () => {
  const two = await TwoReplicas.start({ configuredSuites: ["sid", "sid/updates"].map(parseSuite) });
  const older = await get(two.one, `${suite}/InRelease`, "192.0.2.1");
  await two.publish();
  const told = await get(two.other, packages, "192.0.2.2", { [field]: older.headers[field]?.toString() ?? "" });
  expect(lists(older.body.toString(), told.body.toString())).toBe(true);
  expect((await get(two.one, packages, "192.0.2.2", { [field]: "4000000000" })).status).toBe(200);
});

test("a replica asks others only through a load balancer that calls it by its own name", async () => {
  const two = await TwoReplicas.start();
  const asked: unknown[] = [];
  two.observeSessions((session) => asked.push(session?.canAskOthers));
  for (const name of ["one", "any-one", undefined])
    await get(two.one, packages, undefined, name === undefined ? {} : { "Tahoe-Apt-Replica": name });
  expect(asked).toEqual([true, false, false]);
});

test("a server without replicas neither sends nor heeds what load balancers remember", async () => {
  const two = await TwoReplicas.start({ isFleet: false });
  expect((await get(two.one, `${suite}/InRelease`)).headers[field]).toBeUndefined();
  expect((await get(two.one, packages, undefined, { [field]: "4000000000" })).status).toBe(200);
});

test("without Valkey each replica serves by what it knows itself, at once", async () => {
  const two = await TwoReplicas.start();
  const older = await text(two.one, `${suite}/InRelease`);
  await two.publish();
  await two.valkey.kill();
  await two.connected(false);
  expect(lists(older, await text(two.one, packages))).toBe(true);
  expect(lists(older, await text(two.other, packages))).toBe(false);
});

test("a suite with one publication for long needs no question to Valkey", async () => {
  let nowMs = Date.now();
  const two = await TwoReplicas.start({ clock: () => nowMs });
  await text(two.other, packages);
  await text(two.one, packages);
  nowMs += 301_000;
  process.kill(two.valkey.pid, "SIGSTOP");
  expect((await get(two.other, packages)).status).toBe(200);
});

test("Valkey gets no address of a client for its session", async () => {
  const two = await TwoReplicas.start();
  await text(two.one, `${suite}/InRelease`);
  await vi.waitFor(async () => expect(await two.keys()).toContainEqual(expect.stringContaining(":session:")), 10_000);
  expect((await two.keys()).join(" ")).not.toContain("192.0.2.1");
});

test("pings of a token are counted at both replicas together, and by each while Valkey is away", async () => {
  const two = await TwoReplicas.start({ limits: { pingsPerMinute: 3 } });
  const ping = async (app: StartedApp): Promise<number> =>
    (await ask(app.address.port, "POST", "/-/ping/debian", { Authorization: `Bearer ${token}` })).status;
  expect([await ping(two.one), await ping(two.other), await ping(two.one), await ping(two.other)]).toEqual([
    202, 202, 202, 429,
  ]);
  await two.valkey.kill();
  await two.connected(false);
  expect([await ping(two.one), await ping(two.one), await ping(two.one), await ping(two.one)]).toEqual([
    202, 202, 202, 429,
  ]);
  expect(await ping(two.other)).toBe(202);
});

test("failed logins of an address are counted at both replicas together", async () => {
  const two = await TwoReplicas.start({
    limits: { failedLoginsPerMinute: 2 },
    readers: new Map([[parseRepositoryName("debian"), [reader]]]),
  });
  const login = async (app: StartedApp, password: string, client: string) =>
    (await get(app, `${suite}/InRelease`, client, basic(password))).status;
  expect([await login(two.one, "wrong", "192.0.2.1"), await login(two.other, "wrong", "192.0.2.1")]).toEqual([
    401, 401,
  ]);
  for (const app of [two.one, two.other]) {
    expect(await login(app, "correct horse", "192.0.2.1")).toBe(429);
    expect(await login(app, "correct horse", "192.0.2.9")).toBe(200);
  }
});
