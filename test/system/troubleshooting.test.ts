// Each message of apt in the guide for troubleshooting is what apt really prints when the fault is there.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readKey } from "openpgp";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { createSigningKey } from "../../src/signing/openpgp-signer.ts";
import type { AptSource } from "../support/apt.ts";
import { AptRoot, sourceText } from "../support/apt.ts";
import { Apt3 } from "../support/apt3.ts";
import { clockBehind } from "../support/client-clock.ts";
import { runCommand } from "../support/command-line.ts";
import { CorruptingProxy } from "../support/corrupting-proxy.ts";
import { aDeb } from "../support/debs.ts";
import { blocksIn } from "../support/documents.ts";
import { freePort, ServerUnderTest } from "../support/server.ts";
import type { TlsProxy } from "../support/tls-proxy.ts";
import { tlsProxy } from "../support/tls-proxy.ts";

const day = 24 * 3600;
const escaped = (text: string): string => text.replaceAll(/[\\^$.*+?()[\]{}|]/g, "\\$&");
const work = mkdtempSync(join(tmpdir(), "tahoe-apt-symptoms-"));
let server: ServerUnderTest;
let key: string;
let otherKey: string;
let tls: TlsProxy;
let corrupting: CorruptingProxy;
let apt3: Apt3;

const configuration = (label: string): string => `
[[repository]]
name = "debian"
folder = "tree"
label = "${label}"
[repository.suite.sid]
valid_for_seconds = ${7 * day}
[[repository]]
name = "private"
folder = "tree"
[[repository.reader]]
name = "bob"
password_file = "bob.password"
`;

async function serve(label: string, ...flags: readonly string[]): Promise<void> {
  const port = server?.port;
  await server?.end();
  writeFileSync(join(work, "c.toml"), configuration(label));
  const more = ["--config", join(work, "c.toml"), "--state", join(work, "state"), ...flags];
  server = await ServerUnderTest.start({ flags: more, ...(port !== undefined && { port }) });
  await server.ready();
}

beforeAll(async () => {
  const place = join(work, "tree/dists/sid/main/binary-amd64");
  mkdirSync(place, { recursive: true });
  writeFileSync(join(place, "hello_1.0_amd64.deb"), await aDeb({ package: "hello", architecture: "amd64" }));
  writeFileSync(join(work, "bob.password"), "a-password-of-bob", { mode: 0o600 });
  await serve("Example");
  key = await (await fetch(`${server.url}/debian/key.asc`)).text();
  const secretKey = await createSigningKey({ name: "Other", now: () => Date.now() - 1000 * day });
  otherKey = (await readKey({ armoredKey: secretKey.reveal() })).toPublic().armor();
  tls = await tlsProxy(server.url, work);
  corrupting = await CorruptingProxy.start(server.url);
  apt3 = await Apt3.start();
});
afterAll(async () => {
  await apt3?.close();
  await corrupting?.close();
  await tls?.end();
  await server?.end();
  rmSync(work, { recursive: true, force: true });
});

/** A source of the repository, or of another address. */
const sourceOf = (url = `${server.url}/debian`, publicKey = key): AptSource => ({ url, suite: "sid", publicKey });

/** What apt of Debian 12 prints when it updates. */
async function update(source = sourceOf(), environment = {}): Promise<string> {
  const root = new AptRoot({ source, environment, options: { "Acquire::Retries": "0" } });
  try {
    return (await root.run("apt-get", "update")).output;
  } finally {
    root.close();
  }
}

/** The same of apt 3. */
async function update3({ url, publicKey }: AptSource = sourceOf(), environment = {}): Promise<string> {
  const steps = [
    `echo ${Buffer.from(publicKey).toString("base64")} | base64 -d >/root/key.asc`,
    `echo 'deb [signed-by=/root/key.asc] ${url} sid main' >/etc/apt/sources.list`,
    "rm -rf /var/lib/apt/lists/*",
    "apt-get -o Acquire::Retries=0 update",
  ];
  return (await apt3.run(steps.join("; "), environment)).output;
}

/** Another file in the source list of a client that has updated. */
async function updateWith(name: string, text: string, source: AptSource | string = sourceOf()): Promise<string> {
  const root = new AptRoot({ source });
  try {
    writeFileSync(join(root.directory, "etc/sources.list.d", name), text);
    return (await root.run("apt-get", "update")).output;
  } finally {
    root.close();
  }
}

/** Runs `tahoe-apt serve` with flags that it refuses. */
const refused = async (...flags: readonly string[]): Promise<string> =>
  (await runCommand(["serve", ...flags], { cwd: work })).output;

/** Runs `tahoe-apt put` with a bundle of this text. */
async function put(bundle: string, mode = 0o600): Promise<string> {
  rmSync(join(work, "alice.bundle"), { force: true });
  writeFileSync(join(work, "alice.bundle"), bundle, { mode });
  const deb = "tree/dists/sid/main/binary-amd64/hello_1.0_amd64.deb";
  return (await runCommand(["put", "--bundle", "alice.bundle", deb], { cwd: work })).output;
}

/** A bundle for a gateway that does not run. */
const bundleOf = (gateway: string): string => `
name = "alice"
webapi = ["${gateway}"]
[[directory]]
path = "dists/sid/main/binary-amd64/alice"
writecap = "URI:DIR2:${"a".repeat(26)}:${"a".repeat(52)}"
`;

const nowhere = async (): Promise<string> => `http://127.0.0.1:${await freePort()}`;
const ahead = clockBehind(-8 * day);
const behind = clockBehind(day);

/** For each message of the guide: what is printed when its cause is there. */
const causes: Readonly<Record<string, () => Promise<string>>> = {
  "no-key": () => update(sourceOf(undefined, otherKey)),
  "no-key-3": () => update3(sourceOf(undefined, otherKey)),
  unauthorized: () => update(sourceOf(`${server.url}/private`)),
  "no-release": () => update({ ...sourceOf(`${server.url}/debian`), url: `${server.url}/debian/no` }),
  expired: () => update(sourceOf(), ahead),
  early: () => update(sourceOf(), behind),
  "early-3": () => update3(sourceOf(), behind),
  hash: () =>
    corrupting.whileCorrupting(/Packages|by-hash/, () => update(sourceOf(`http://${corrupting.host}/debian`))),
  certificate: () => update(sourceOf(`${tls.url}/debian`)),
  "certificate-3": () => update3(sourceOf(`${tls.url}/debian`)),
  refused: async () => update(sourceOf(`${await nowhere()}/debian`)),
  async unavailable() {
    writeFileSync(join(work, "readcap"), `URI:DIR2-RO:${"a".repeat(26)}:${"a".repeat(52)}`, { mode: 0o600 });
    const flags = ["--webapi", await nowhere(), "--readcap-file", join(work, "readcap")];
    const empty = await ServerUnderTest.start({ flags: [...flags, "--state", join(work, "state-of-nothing")] });
    try {
      return await update(sourceOf(`${empty.url}/debian`));
    } finally {
      await empty.end();
    }
  },
  async locate() {
    const root = new AptRoot({ source: sourceOf() });
    try {
      await root.update();
      return (await root.run("apt-get", "install", "greet")).output;
    } finally {
      root.close();
    }
  },
  component: () => update({ ...sourceOf(), components: ["contrib"] }),
  conflict: () =>
    updateWith(
      "more.list",
      `deb [signed-by=/etc/hosts] ${server.url}/debian sid main\n`,
      `Types: deb\nURIs: ${server.url}/debian\nSuites: sid\nComponents: main\nSigned-By: /etc/passwd\n`,
    ),
  twice: () => updateWith("twice.sources", sourceText(sourceOf())),
  "bundle-mode": async () => await put(bundleOf(await nowhere()), 0o644),
  "bundle-broken": () => put("{}"),
  gateway: async () => await put(bundleOf(await nowhere())),
  address: () => refused("--folder", "tree", "--state", "other", "--listen", `127.0.0.1:${server.port}`),
  state: async () => refused("--folder", "tree", "--state", "state", "--listen", `127.0.0.1:${await freePort()}`),
  async cap() {
    writeFileSync(join(work, "other.cap"), `URI:DIR2:${"a".repeat(26)}:${"a".repeat(52)}`, { mode: 0o600 });
    return await refused("--webapi", await nowhere(), "--readcap-file", "other.cap");
  },
  // Last: the server has another label from then on.
  async label() {
    const root = new AptRoot({ source: sourceOf() });
    try {
      await root.update();
      await serve("Another", "--accept-identity-change");
      return await vi.waitFor(
        async () => {
          const { output } = await root.run("apt-get", "update");
          expect(output).toContain("changed its");
          return output;
        },
        { timeout: 30_000, interval: 500 },
      );
    } finally {
      root.close();
    }
  },
};

const messages = blocksIn("docs/guide-troubleshooting.md").filter(({ language }) => language === "text");

test("each message in the guide has a cause here, and each cause a message", () => {
  expect(messages.map(({ name }) => name).toSorted()).toEqual(Object.keys(causes).toSorted());
});

test.each(Object.keys(causes))("the message for %s is what is printed", async (name) => {
  const said = messages.find((block) => block.name === name)?.text ?? "";
  const printed = (await causes[name]!())
    .replaceAll(server.url, "https://apt.example.org")
    .replaceAll(/https?:\/\/127\.0\.0\.1:\d+/g, "https://apt.example.org")
    .replaceAll("https://apt.example.org/private", "https://apt.example.org/debian")
    .replaceAll("https://apt.example.org/debian/no", "https://apt.example.org/debian")
    .replace(/connect to 127\.0\.0\.1/, "connect to apt.example.org");
  // The lines in their order, perhaps with others between them.
  const lines = said
    .trimEnd()
    .split("\n")
    .map((line) => line.split("…").map(escaped).join(".*"));
  expect(printed).toMatch(new RegExp(`^ *${lines.join("[\\s\\S]*^ *")}`, "m"));
});
