// A real server tells a real receiver about its publications: CI that waits for one can install at once, and nothing is
// lost while the receiver, or the server, is down.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { mkdir, rename, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { AptRoot } from "../support/apt.ts";
import { outputOf, runCommand } from "../support/command-line.ts";
import { aDeb } from "../support/debs.ts";
import { freePort, ServerUnderTest } from "../support/server.ts";
import { aSigningKey } from "../support/signing-key.ts";
import type { ReceivedEvent } from "../support/webhook-receiver.ts";
import { verified, WebhookReceiver, webhookSecret } from "../support/webhook-receiver.ts";

const token = "a-token-that-is-long-enough";

class Site {
  readonly work = mkdtempSync(join(tmpdir(), "webhooks-"));
  readonly config = join(this.work, "it.toml");
  readonly port: number;
  #server: ServerUnderTest | undefined;

  private constructor(port: number) {
    this.port = port;
    onTestFinished(async () => {
      await this.#server?.end("SIGKILL");
      rmSync(this.work, { recursive: true });
    });
  }

  static async create(url: string): Promise<Site> {
    const site = new Site(await freePort());
    const files = { "key.asc": (await aSigningKey()).reveal(), token, "hook.secret": webhookSecret };
    for (const [name, text] of Object.entries(files))
      writeFileSync(join(site.work, name), `${text}\n`, { mode: 0o600 });
    await mkdir(join(site.work, "tree/dists"), { recursive: true });
    site.configure(`[[repository.webhook]]\nurl = "${url}"\nsecret_file = "hook.secret"`);
    await site.start();
    return site;
  }

  configure(webhook: string): void {
    const lines = [
      `public_url = "http://127.0.0.1:${this.port}"`,
      "[[repository]]",
      'name = "debian"\nfolder = "tree"\nsigning_key_file = "key.asc"\nping_token_file = "token"',
      webhook,
      "[limits.webhook]\nfirst_delay_seconds = 0.05\nmax_delay_seconds = 0.2",
    ];
    writeFileSync(this.config, `${lines.join("\n")}\n`);
  }

  async start(): Promise<void> {
    const flags = ["--config", this.config, "--state", join(this.work, "state")];
    this.#server = await ServerUnderTest.start({ flags, port: this.port });
    await this.#server.ready();
  }

  get server(): ServerUnderTest {
    if (this.#server === undefined) throw new Error("the server was not started");
    return this.#server;
  }

  /** Resolves when so many events wait for their receivers, one of which was tried. */
  async waitFor(events: number): Promise<void> {
    const metrics = async () => await (await fetch(`${this.server.url}/metrics`)).text();
    await expect
      .poll(metrics, { timeout: 10_000 })
      .toContain(`tahoe_apt_webhook_waiting_events{repository="debian"} ${events}\n`);
    await expect.poll(() => this.server.output, { timeout: 10_000 }).toContain("the webhook failed");
  }

  async put(version: string): Promise<void> {
    const file = join(this.work, "tree/dists/sid/main/binary-amd64/alice/hello_amd64.deb");
    await mkdir(dirname(file), { recursive: true });
    await writeFile(`${file}.new`, await aDeb({ package: "hello", version, architecture: "amd64" }));
    await rename(`${file}.new`, file);
  }

  async ping(): Promise<void> {
    const headers = { authorization: `Bearer ${token}` };
    const reply = await fetch(`${this.server.url}/-/ping/debian?wait=60`, { method: "POST", headers });
    expect([reply.status, await reply.text()]).toEqual([200, expect.anything()]);
  }
}

const versionsIn = (event: ReceivedEvent): unknown[] => {
  const { changes } = verified(event).data;
  return [
    ...(changes?.added.entries ?? []).map(({ version }) => version),
    ...(changes?.changed.entries ?? []).flatMap(({ after }) => after),
  ];
};

test("on receipt of an event, apt installs the package, and the links of the event lead to the changes", async () => {
  const receiver = await WebhookReceiver.start();
  const site = await Site.create(receiver.url);
  const { url } = site.server;
  await site.put("1.0");
  await site.ping();
  const [first] = await receiver.gets(1);
  const publicKey = await (await fetch(`${url}/debian/key.asc`)).text();
  const apt = new AptRoot({ source: { url: `${url}/debian`, suite: "sid", publicKey } });
  onTestFinished(() => apt.close());
  expect(await apt.run("apt-get", "update")).toMatchObject({ exitCode: 0 });
  expect((await apt.run("apt-get", "install", "--download-only", "hello")).output).toContain("hello");
  await site.put("1.1");
  await site.ping();
  const [, second] = await receiver.gets(2);
  expect(await apt.run("apt-get", "update")).toMatchObject({ exitCode: 0 });
  expect((await apt.run("apt-cache", "policy", "hello")).output).toContain("Candidate: 1.1");
  expect([first, second].map((event) => event && versionsIn(event))).toEqual([["1.0"], ["1.1"]]);

  const diff = second && verified(second).data.links?.diff;
  const page = await (await fetch(diff ?? "", { headers: { accept: "text/html" } })).text();
  expect(page).toContain("1.1");
  const metrics = await (await fetch(`${url}/metrics`)).text();
  expect(metrics).toContain('tahoe_apt_webhook_deliveries_total{repository="debian",result="delivered"} 2');
});

test("events survive a receiver that is down and a server that is killed, in order; a reload removes the webhook", async () => {
  const port = await freePort();
  const site = await Site.create(`http://127.0.0.1:${port}/hook?token=a-token-in-the-url`);
  await site.put("1.0");
  await site.ping();
  await site.put("1.1");
  await site.ping();
  await site.waitFor(2);
  const log = site.server.output;
  expect(log.match(/the webhook failed/g)).toHaveLength(1);
  expect(log).toContain(`"receiver":"http://127.0.0.1:${port}"`);
  expect(log).not.toMatch(/a-token-in-the-url|whsec_/);
  await site.server.end("SIGKILL");
  await site.put("1.2");

  await site.start();
  await site.ping();
  await site.waitFor(3);
  const receiver = await WebhookReceiver.start(port);
  const events = await receiver.gets(3);
  expect(events.map(versionsIn)).toEqual([["1.0"], ["1.1"], ["1.2"]]);
  expect(new Set(events.map(({ headers }) => headers["webhook-id"])).size).toBe(3);
  await expect.poll(() => site.server.output, { timeout: 10_000 }).toContain("the webhook works again");

  const other = await WebhookReceiver.start();
  site.configure(`[[repository.webhook]]\nurl = "${other.url}"\nsecret_file = "token"`);
  expect(await runCommand(["reload", "--config", site.config, "--state", join(site.work, "state")])).toMatchObject({
    exitCode: 2,
    output: expect.stringContaining("repository[0].webhook[0].secret_file[0]: is not whsec_"),
  });
  site.configure(`[[repository.webhook]]\nurl = "${other.url}"\nsecret_file = "hook.secret"`);
  expect(await outputOf(["reload", "--config", site.config, "--state", join(site.work, "state")])).toContain("webhook");
  await site.put("1.3");
  await site.ping();
  expect((await other.gets(1)).map(versionsIn)).toEqual([["1.3"]]);
  expect(receiver.received).toHaveLength(3);
});
