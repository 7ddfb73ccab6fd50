// Rotation of the signing key: machines with the keyring package only notice an upgrade.
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, describe, expect, test } from "vitest";
import { createSigningKey } from "../../src/signing/openpgp-signer.ts";
import { AptRoot } from "../support/apt.ts";
import { aDeb } from "../support/debs.ts";
import type { Machine } from "../support/rootfs.ts";
import { debianMachine } from "../support/rootfs.ts";
import { ServerUnderTest } from "../support/server.ts";

const setUpMs = 480_000;
const packageName = "example-archive-keyring";
const sources = "/etc/apt/sources.list.d/example.sources";

const directory = mkdtempSync(join(tmpdir(), "rotation-"));
const write = (name: string, text: string | Uint8Array) => {
  mkdirSync(dirname(join(directory, name)), { recursive: true });
  writeFileSync(join(directory, name), text, { mode: 0o600 });
};

let server: ServerUnderTest | undefined;
afterAll(async () => {
  await server?.end();
  rmSync(directory, { recursive: true });
});

/** Restarts the server with these keys, at the same address. @param more keys of the repository */
async function serveWith(keys: readonly string[], more = ""): Promise<ServerUnderTest> {
  const port = server?.port;
  await server?.end();
  write(
    "c.toml",
    `[[repository]]\nname = "example"\nfolder = "tree"\narchive_keyring = "main"\n` +
      `signing_key_file = ${JSON.stringify(keys)}\n${more}`,
  );
  const flags = ["--config", join(directory, "c.toml"), "--state", join(directory, "state")];
  server = await ServerUnderTest.start({ flags, ...(port !== undefined && { port }) });
  await server.ready();
  // After a ping, the current publication has the signatures of this run's keys. With unchanged keys, it is the last one.
  const token = readFileSync(join(directory, "state/repositories/example/ping-token"), "utf8").trim();
  const headers = { authorization: `Bearer ${token}` };
  const ping = await fetch(`${server.url}/-/ping/example?wait=60`, { method: "POST", headers });
  expect(ping.status, await ping.text()).toBe(200);
  return server;
}

/** Runs lines on the machine. @throws Error with their output if they fail */
async function on(machine: Machine, lines: string): Promise<string> {
  const [command, args] = await machine.enter(`exec 2>&1; set -eu; export DEBIAN_FRONTEND=noninteractive\n${lines}`);
  const running = promisify(execFile)(command, [...args], { maxBuffer: 2 ** 24 });
  const { stdout } = await running.catch((thrown: { readonly stdout: string }) => {
    throw new Error(thrown.stdout);
  });
  return stdout;
}

const update = "apt-get update -o APT::Update::Error-Mode=any";
const install = (name: string) => `apt-get install -y -q ${name}`;

async function makeKeysAndTree(): Promise<void> {
  const day = 24 * 3600 * 1000;
  for (const [name, madeMs] of [
    ["old.asc", Date.now() - 400 * day],
    ["new.asc", Date.now() - day],
  ] as const) {
    write(name, (await createSigningKey({ name: "Example", now: () => madeMs })).reveal());
  }
  for (const name of ["one", "two", "three"]) {
    const path = `tree/dists/sid/main/binary-amd64/${name}_1_amd64.deb`;
    write(path, await aDeb({ package: name, version: "1", architecture: "amd64", files: { [`./srv/${name}`]: name } }));
  }
}

describe.each(["bookworm", "trixie"] as const)("on a machine with the apt of %s", (suite) => {
  test("the keyring package is installed, adds the new key, and the old one is removed", {
    timeout: setUpMs,
  }, async () => {
    await makeKeysAndTree();
    const machine = await debianMachine(suite);
    try {
      const { url } = await serveWith(["old.asc"]);
      mkdirSync(join(machine.changes, dirname(sources)), { recursive: true });
      const fetched = await (await fetch(`${url}/example/example.sources`)).text();
      // A user's own change in the file, which an upgrade must keep.
      writeFileSync(join(machine.changes, sources), `# mine\n${fetched}`);
      writeFileSync(join(machine.changes, "etc/apt/sources.list"), "");
      await on(machine, `rm -f /etc/apt/sources.list.d/debian.sources; ${update}; ${install(`${packageName} one`)}`);
      const source = await on(machine, `cat ${sources}`);
      expect(source).toMatch(/^# mine\nTypes: deb deb-src\n/);
      expect(source).toContain(`Signed-By: /usr/share/keyrings/${packageName}.pgp\n`);
      expect(source).not.toContain("BEGIN PGP");

      await serveWith(["old.asc", "new.asc"]);
      const upgraded = await on(machine, `${update}; apt-get upgrade -y -q; ${install("two")}`);
      expect(upgraded).toMatch(new RegExp(`Unpacking ${packageName} .*over`));

      await serveWith(["new.asc"]);
      const after = await on(machine, `${update}; apt-get upgrade -y -q; ${install("three")}`);
      expect(after).toMatch(new RegExp(`Unpacking ${packageName} .*over`));
      expect(after).not.toMatch(/^[WE]:/m);
      // apt 3 announces here what it will reject within a year.
      const audit = suite === "trixie" ? await on(machine, "apt-get update --audit") : "";
      expect(audit).not.toMatch(/Policy|^[WE]:/m);
      expect(await on(machine, "dpkg --audit; dpkg -l one two three | grep -c ^ii")).toMatch(/^3$/m);
    } finally {
      await machine.remove();
    }
  });

  test("a client that skips the step with both keys rejects the repository", { timeout: setUpMs }, async () => {
    const machine = await debianMachine(suite);
    try {
      const { url } = await serveWith(["old.asc"]);
      mkdirSync(join(machine.changes, dirname(sources)), { recursive: true });
      writeFileSync(join(machine.changes, sources), await (await fetch(`${url}/example/example.sources`)).text());
      await on(machine, `rm -f /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; ${update}`);
      await serveWith(["new.asc"]);
      await expect(on(machine, update)).rejects.toThrow(/NO_PUBKEY|Missing key|not signed/);
    } finally {
      await machine.remove();
    }
  });
});

test("the package alone adds the repository, and its removal removes it", { timeout: setUpMs }, async () => {
  const machine = await debianMachine("trixie");
  try {
    const { url } = await serveWith(["new.asc"]);
    // As if a proxy were reachable at that address.
    await server?.end();
    const config = `public_url = "${url}"\n`;
    write(
      "c.toml",
      `${config}[[repository]]\nname = "example"\nfolder = "tree"\narchive_keyring = "main"\nsigning_key_file = "new.asc"\n[repository.suite.sid]\ncodename = "sid"\n`,
    );
    const flags = ["--config", join(directory, "c.toml"), "--state", join(directory, "state-2")];
    server = await ServerUnderTest.start({ flags, port: Number(new URL(url).port) });
    await server.ready();
    const publicKey = await (await fetch(`${url}/example/key.asc`)).text();
    const root = new AptRoot({ source: { url: `${url}/example`, suite: "sid", publicKey } });
    await root.update();
    writeFileSync(join(machine.changes, "keyring.deb"), await root.download(packageName));
    root.close();
    const bare = "rm -f /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list";
    await on(machine, `${bare}; dpkg -i /keyring.deb; ${update}; ${install("one")}`);
    await on(machine, `apt-get purge -y -q ${packageName}; test ! -e ${sources}; ${update}`);
    // If the user deletes the source, an upgrade does not restore it.
    await on(machine, `dpkg -i /keyring.deb; rm ${sources}; dpkg -i /keyring.deb; test ! -e ${sources}`);
  } finally {
    await machine.remove();
  }
});
