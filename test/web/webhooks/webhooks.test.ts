// Webhooks of a repository over a real folder, with real receivers that work, fail, or want no events.
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import type { Log } from "../../../src/base/log.ts";
import { Secret } from "../../../src/base/secret.ts";
import { Publications } from "../../../src/web/data/publications.ts";
import type { Difference } from "../../../src/web/data/repository-data.ts";
import { maxEventBytes, publicationEvent } from "../../../src/web/webhooks/publication-event.ts";
import { parseWebhookSecret, signatureHeaders } from "../../../src/web/webhooks/signature.ts";
import type { Webhook } from "../../../src/web/webhooks/webhook.ts";
import type { WebhookLimits } from "../../../src/web/webhooks/webhook-sender.ts";
import { Webhooks } from "../../../src/web/webhooks/webhooks.ts";
import { aDeb } from "../../support/debs.ts";
import type { ServedFolderOptions } from "../../support/served-folder.ts";
import { ServedFolder } from "../../support/served-folder.ts";
import type { PublicationEventBody } from "../../support/webhook-receiver.ts";
import { verified, WebhookReceiver, webhookSecret } from "../../support/webhook-receiver.ts";

const quick: WebhookLimits = { maxWaitingEvents: 5, maxEventAgeMs: 60_000, firstDelayMs: 2, maxDelayMs: 20 };

const to = ({ url }: { readonly url: string }, changes: Partial<Webhook> = {}): Webhook => ({
  url: new Secret(url),
  secrets: [parseWebhookSecret(new Secret(webhookSecret))],
  suites: [],
  timeoutSeconds: 5,
  ...changes,
});

/** A repository whose publications go to webhooks. */
class Announcing {
  readonly served: ServedFolder;
  readonly lines: string[] = [];
  readonly counts: Record<string, number> = {};
  /** Whether this server announces publications, of several that serve the same. */
  isOurs = true;
  #webhooks: Webhooks | undefined;

  constructor(options: ServedFolderOptions = {}) {
    const changed = () => this.#webhooks?.changed();
    const observer = { published: changed, deferredGenerated: changed, withdrawn: changed };
    this.served = new ServedFolder({ ...options, observer });
    onTestFinished(() => this.stop());
  }

  get file(): string {
    return join(this.served.state, "webhooks.json");
  }

  get webhooks(): Webhooks {
    if (this.#webhooks === undefined) throw new Error("start was not called");
    return this.#webhooks;
  }

  async start(webhooks: readonly Webhook[], limits: Partial<WebhookLimits> = {}): Promise<void> {
    const write = (context: object, text: string) => void this.lines.push(`${text} ${JSON.stringify(context)}`);
    const log: Log = { info: write, warn: write, error: write };
    this.#webhooks = new Webhooks({
      repository: "debian",
      publications: new Publications([{ repository: this.served.repository }]),
      file: this.file,
      publicUrl: "https://apt.example.org",
      observer: { counted: (result, count) => (this.counts[result] = (this.counts[result] ?? 0) + count) },
      isOurs: () => this.isOurs,
      limits: { ...quick, ...limits },
      log,
      now: Date.now,
    });
    await this.#webhooks.start(webhooks);
  }

  async stop(): Promise<void> {
    await this.#webhooks?.stop();
    this.#webhooks = undefined;
  }

  async put(name: string, version: string, suite = "sid"): Promise<void> {
    const bytes = await aDeb({ package: name, version, architecture: "amd64" });
    this.served.put(`dists/${suite}/main/binary-amd64/${name}_amd64.deb`, bytes);
    await this.served.ping();
  }
}

/** Resolves when something is true that no event announces. */
const eventually = async (isTrue: () => boolean): Promise<void> =>
  await vi.waitFor(() => expect(isTrue()).toBe(true), { timeout: 4000, interval: 5 });

const namesIn = ({ data }: PublicationEventBody): unknown[] =>
  [...(data.changes?.added.entries ?? []), ...(data.changes?.changed.entries ?? [])].map(({ name }) => name);

test("of several servers with the same publications, only one announces them; the next one goes on from there", async () => {
  const receiver = await WebhookReceiver.start();
  const it = new Announcing();
  await it.put("hello", "1");
  it.isOurs = false;
  await it.start([to(receiver)]);
  await it.put("told-by-another", "1");
  await eventually(() => readFileSync(it.file, "utf8").includes(it.served.repository.status().suites[0]?.id ?? "-"));
  it.isOurs = true;
  await it.put("tool", "1");
  const [event] = await receiver.gets(1);
  expect(event && namesIn(verified(event))).toEqual(["tool"]);
});

test("each publication is posted with its changes, links and a signature that the reference library accepts", async () => {
  const receiver = await WebhookReceiver.start();
  const it = new Announcing();
  await it.put("hello", "1");
  await it.start([to(receiver)]);
  await it.put("hello", "2");
  await receiver.gets(1);
  await it.put("tool", "1");
  await receiver.gets(2);
  it.served.remove("dists/sid/main/binary-amd64/hello_amd64.deb");
  await it.served.ping();

  const events = await receiver.gets(3);
  expect(events[0]?.path).toBe("/hook?token=a-token-in-the-url");
  expect(events[0]?.headers["content-type"]).toBe("application/json");
  const [changed, added, removed] = events.map((event) => verified(event));
  expect(changed).toMatchObject({ type: "repository.published", data: { repository: "debian", suite: "sid" } });
  expect(changed?.data.changes).toEqual({
    changed: {
      total: 1,
      entries: [{ name: "hello", component: "main", architecture: "amd64", before: ["1"], after: ["2"] }],
    },
    added: { total: 0, entries: [] },
    removed: { total: 0, entries: [] },
  });
  const { publication, previousPublication, links } = added?.data ?? {};
  expect(added?.data.changes?.added.entries).toEqual([
    { name: "tool", component: "main", version: "1", architecture: "amd64" },
  ]);
  expect(previousPublication).toBe(changed?.data.publication);
  expect(links).toEqual({
    repository: "https://apt.example.org/debian/",
    diff: `https://apt.example.org/debian/-/diff?from=sid%40${previousPublication}&to=sid%40${publication}`,
  });
  expect(removed?.data.changes?.removed.entries).toMatchObject([{ name: "hello", version: "2" }]);
  expect(new Set(events.map(({ headers }) => headers["webhook-id"])).size).toBe(3);
  await eventually(() => it.counts.delivered === 3);
  expect(it.counts).toEqual({ delivered: 3 });
});

test("a changed body, another secret, another id or an old timestamp is detected by the reference library", async () => {
  const secrets = [parseWebhookSecret(new Secret(webhookSecret))];
  const nowSeconds = Math.floor(Date.now() / 1000);
  const sign = (sentSeconds: number) => signatureHeaders({ id: "msg_1", sentSeconds, body: "{}" }, secrets);
  const headers = sign(nowSeconds);
  expect(verified({ headers, body: "{}" })).toEqual({});
  const other = `whsec_${Buffer.alloc(32, "other").toString("base64")}`;
  expect(() => verified({ headers, body: "{ }" })).toThrow("No matching signature");
  expect(() => verified({ headers, body: "{}" }, other)).toThrow("No matching signature");
  expect(() => verified({ headers: { ...headers, "webhook-id": "msg_2" }, body: "{}" })).toThrow("No matching");
  expect(() => verified({ headers: sign(nowSeconds - 3600), body: "{}" })).toThrow("too old");
});

test("while a secret is being replaced, the receiver may know either", async () => {
  const other = `whsec_${Buffer.alloc(24, "other").toString("base64")}`;
  const secrets = [webhookSecret, other].map((text) => parseWebhookSecret(new Secret(text)));
  const headers = signatureHeaders({ id: "msg_1", sentSeconds: Math.floor(Date.now() / 1000), body: "{}" }, secrets);
  expect(verified({ headers, body: "{}" }, webhookSecret)).toEqual({});
  expect(verified({ headers, body: "{}" }, other)).toEqual({});
});

test.each(["", "whsec_", "a-password", `whsec_${"a".repeat(200)}`, `whsec_${Buffer.alloc(23).toString("base64")}`])(
  "%j is no secret, and the message does not quote it",
  (text) => {
    const parse = () => parseWebhookSecret(new Secret(text));
    expect(parse).toThrow("24 to 64 bytes in base64");
    if (text.length > 6) expect(parse).not.toThrow(text);
  },
);

test("Contents and pdiffs, which are published later for the same packages, are no event", async () => {
  const receiver = await WebhookReceiver.start();
  const it = new Announcing({ contents: true, pdiffs: true });
  await it.start([to(receiver)]);
  await it.put("hello", "1");
  await receiver.gets(1);
  await it.served.deferredGenerated();
  await it.put("hello", "2");
  const [, two] = (await receiver.gets(2)).map((event) => verified(event).data);
  expect(receiver.received).toHaveLength(2);
  // The third one is the publication with the deferred files.
  expect([...it.served.repository.snapshots()].length).toBeGreaterThanOrEqual(3);
  expect(two?.changes?.changed.total).toBe(1);
});

test("a receiver that fails gets every event later, in order; the log says so once, without the token", async () => {
  const receiver = await WebhookReceiver.start();
  receiver.response = 500;
  const it = new Announcing();
  await it.start([to(receiver)]);
  for (const [index, name] of ["one", "two", "three"].entries()) {
    await it.put(name, "1");
    await eventually(() => it.webhooks.waitingCount === index + 1);
  }
  await receiver.gets(4);
  expect(new Set(receiver.received.map(({ headers }) => headers["webhook-id"])).size).toBe(1);
  receiver.response = 200;
  await eventually(() => it.webhooks.waitingCount === 0);

  const arrived = receiver.received.slice(-3).map((event) => verified(event));
  expect(arrived.flatMap(namesIn)).toEqual(["one", "two", "three"]);
  expect(it.counts.delivered).toBe(3);
  expect(it.lines).toEqual([
    `the webhook failed, and is tried again {"repository":"debian","receiver":"http://127.0.0.1:${receiver.port}","reason":"status 500"}`,
    `the webhook works again {"repository":"debian","receiver":"http://127.0.0.1:${receiver.port}"}`,
  ]);
});

test("publishing does not wait for a receiver that does not respond, and a receiver does not wait for another", async () => {
  const [silent, receiver] = [await WebhookReceiver.start(), await WebhookReceiver.start()];
  silent.response = "none";
  const it = new Announcing();
  await it.start([to(silent, { timeoutSeconds: 30 }), to(receiver)]);
  await it.put("one", "1");
  await Promise.all([silent.gets(1), receiver.gets(1)]);
  await it.put("two", "1");
  await receiver.gets(2);
  await eventually(() => it.webhooks.waitingCount === 2);
  expect(silent.received).toHaveLength(1);
});

test("a response that takes too long is a failure", async () => {
  const receiver = await WebhookReceiver.start();
  receiver.response = "none";
  const it = new Announcing();
  await it.start([to(receiver, { timeoutSeconds: 0.05 })]);
  await it.put("hello", "1");
  await receiver.gets(2);
  expect(it.lines[0]).toContain("no response within 0.05 s");
});

test("a redirect is not followed", async () => {
  const [receiver, internal] = [await WebhookReceiver.start(), await WebhookReceiver.start()];
  receiver.response = { status: 307, headers: { location: internal.url } };
  const it = new Announcing();
  await it.start([to(receiver)]);
  await it.put("hello", "1");
  await receiver.gets(3);
  expect(internal.received).toEqual([]);
  expect(it.lines[0]).toContain("status 307, and redirects are not followed");
});

test("a receiver that is gone gets nothing more, until the configuration is reloaded", async () => {
  const receiver = await WebhookReceiver.start();
  receiver.response = 410;
  const it = new Announcing();
  await it.start([to(receiver)]);
  await it.put("one", "1");
  await receiver.gets(1);
  await eventually(() => it.counts.dropped === 1);
  const before = readFileSync(it.file, "utf8");
  await it.put("two", "1");
  await eventually(() => readFileSync(it.file, "utf8") !== before);
  receiver.response = 200;
  it.webhooks.configure([to(receiver)]);
  await it.put("three", "1");
  const events = await receiver.gets(2);
  expect(events.map((event) => namesIn(verified(event)))).toEqual([["one"], ["three"]]);
  expect(it.lines[0]).toContain("the receiver wants no more events (status 410) until the configuration is reloaded");
});

test("events that have not arrived, and publications of the last moment, survive a restart", async () => {
  const receiver = await WebhookReceiver.start();
  receiver.response = 500;
  const it = new Announcing();
  await it.start([to(receiver)]);
  await it.put("one", "1");
  const [before] = await receiver.gets(1);
  await it.stop();
  // As if the server had been killed after the publication, before it was compared.
  await it.put("two", "1");
  await it.served.restart();
  receiver.response = 200;
  const seen = receiver.received.length;
  await it.start([to(receiver)]);
  const after = (await receiver.gets(seen + 2)).slice(seen);
  expect(after.map((event) => namesIn(verified(event)))).toEqual([["one"], ["two"]]);
  expect(after[0]?.headers["webhook-id"]).toBe(before?.headers["webhook-id"]);
  expect(Number(after[0]?.headers["webhook-timestamp"])).toBeGreaterThan(0);
});

test("the state contains neither the URL nor the secret, and is for the server only", async () => {
  const receiver = await WebhookReceiver.start();
  receiver.response = 500;
  const it = new Announcing();
  await it.start([to(receiver)]);
  await it.put("one", "1");
  await receiver.gets(1);
  await it.stop();
  const state = readFileSync(it.file, "utf8");
  expect(statSync(it.file).mode & 0o777).toBe(0o600);
  expect(state).toContain("repository.published");
  expect(state).not.toContain("a-token-in-the-url");
  expect(state).not.toContain(webhookSecret.slice(6, 30));
});

test("a state that cannot be read is reported, and the next publication is announced", async () => {
  const receiver = await WebhookReceiver.start();
  const it = new Announcing();
  await it.put("one", "1");
  writeFileSync(it.file, "{");
  await it.start([to(receiver)]);
  expect(it.lines[0]).toContain("the state of the webhooks cannot be read");
  await it.put("two", "1");
  expect((await receiver.gets(1)).map((event) => namesIn(verified(event)))).toEqual([["two"]]);
});

test("if too many events wait, the oldest that is not on its way is dropped", async () => {
  const receiver = await WebhookReceiver.start();
  receiver.response = "none";
  const it = new Announcing();
  await it.start([to(receiver)], { maxWaitingEvents: 2 });
  await it.put("one", "1");
  await receiver.gets(1);
  await it.put("two", "1");
  await eventually(() => it.webhooks.waitingCount === 2);
  await it.put("three", "1");
  await eventually(() => it.counts.dropped === 1);
  expect(it.webhooks.waitingCount).toBe(2);
  expect(it.lines[0]).toContain("too many events are waiting");
});

test("an event that is too old is dropped", async () => {
  const receiver = await WebhookReceiver.start();
  receiver.response = 503;
  const it = new Announcing();
  await it.start([to(receiver)], { maxEventAgeMs: 30 });
  await it.put("one", "1");
  await eventually(() => it.counts.dropped === 1);
  expect(it.webhooks.waitingCount).toBe(0);
  expect(it.lines.at(-1)).toContain("the receiver has not taken it in time");
});

test("a webhook for some suites hears of those only", async () => {
  const [some, all] = [await WebhookReceiver.start(), await WebhookReceiver.start()];
  const it = new Announcing();
  await it.start([to(some, { suites: ["trixie*"] }), to(all)]);
  await it.put("one", "1", "sid");
  await all.gets(1);
  await it.put("two", "1", "trixie");
  await all.gets(2);
  const [event] = await some.gets(1);
  expect(event && verified(event).data.suite).toBe("trixie");
  expect(some.received).toHaveLength(1);
});

test("a webhook that is removed gets nothing more, and without webhooks no state is kept", async () => {
  const [removed, kept] = [await WebhookReceiver.start(), await WebhookReceiver.start()];
  const it = new Announcing();
  await it.start([to(removed), to(kept)]);
  it.webhooks.configure([to(kept)]);
  await it.put("one", "1");
  await kept.gets(1);
  expect(removed.received).toEqual([]);
  expect(existsSync(it.file)).toBe(true);
  it.webhooks.configure([]);
  await eventually(() => !existsSync(it.file));
});

test("an event is bounded, whatever the packages are called, and says how many there are", () => {
  const differences = Array.from({ length: 5000 }, (_, index): Difference => {
    const versions = [`${index}~${"9".repeat(200)}`];
    const kind = index % 2 === 0 ? "added" : "changed";
    const before = kind === "added" ? [] : versions;
    return { kind, name: `\u2028"<${index}`, component: "main", architecture: "amd64", before, after: versions };
  });
  const published = { repository: "debian", suite: "sid", id: "b", dateSeconds: 0, previous: "a", differences };
  const { body } = publicationEvent(published, { publicUrl: undefined, nowMs: 0 });
  expect(Buffer.byteLength(body)).toBeLessThan(maxEventBytes + 1000);
  const { changes, links } = (JSON.parse(body) as PublicationEventBody).data;
  expect(changes).toMatchObject({ added: { total: 2500 }, changed: { total: 2500 }, removed: { total: 0 } });
  expect(changes?.changed.entries.length).toBeGreaterThan(10);
  expect(links).toBeNull();
});

test("if the earlier publication is no longer known, the event says that the changes are unknown", () => {
  const published = { repository: "r", suite: "sid", id: "b", dateSeconds: 0, previous: "a", differences: undefined };
  const { body } = publicationEvent(published, { publicUrl: "https://h", nowMs: 0 });
  expect((JSON.parse(body) as PublicationEventBody).data.changes).toBeNull();
});
