// `tahoe-apt check`: every mistake of a configuration is named at once, and no secret is printed.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { KeyOptions } from "openpgp";
import { generateKey } from "openpgp";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { parseTreePath } from "../../src/base/names.ts";
import { formatBundle } from "../../src/client/bundle.ts";
import { WriteCap } from "../../src/storage/tahoe/caps.ts";
import { runCommand } from "../support/command-line.ts";
import type { FakeGateway } from "../support/fake-gateway.ts";
import { fakeGateway } from "../support/fake-gateway.ts";
import { aSigningKey } from "../support/signing-key.ts";

const work = mkdtempSync(join(tmpdir(), "check-"));
const readCap = `URI:DIR2-RO:${"a".repeat(26)}:${"b".repeat(52)}`;
const passphrase = "the passphrase of the test";
const day = 24 * 3600;
let gateway: FakeGateway;

const write = (name: string, text: string, mode = 0o600): void => writeFileSync(join(work, name), text, { mode });

beforeAll(async () => {
  gateway = await fakeGateway((_request, response) => {
    response.writeHead(200).end(JSON.stringify(["dirnode", { children: {} }]));
  });
  mkdirSync(join(work, "tree"));
  write("key.asc", (await aSigningKey()).reveal());
  write("token", "the-token-of-the-test\n");
  write("readcap", readCap);
  write("a-file", "");
  const made = async (name: string, options: Partial<KeyOptions>): Promise<void> => {
    const { privateKey } = await generateKey({
      type: "rsa",
      rsaBits: 3072,
      ...options,
      userIDs: [{ name }],
      format: "object",
    });
    write(`${name}.asc`, privateKey.armor());
  };
  const yearAgo = new Date(Date.now() - 365 * day * 1000);
  await made("weak", { type: "ecc", curve: "nistP256" });
  await made("locked", { passphrase });
  await made("expired", { date: yearAgo, keyExpirationTime: 100 * day });
  await made("soon", { date: yearAgo, keyExpirationTime: 380 * day });
  const directories = [
    { path: parseTreePath("dists"), cap: new WriteCap(`URI:DIR2:${"a".repeat(26)}:${"b".repeat(52)}`) },
  ];
  const bundle = (name: string, url: string) =>
    write(name, formatBundle({ name: "indices", gateways: [url], directories, ping: undefined }).reveal());
  bundle("good.bundle", gateway.url);
  bundle("away.bundle", "http://127.0.0.1:1");
});

afterAll(async () => {
  await gateway.end();
  rmSync(work, { recursive: true });
});

const table = '[[repository]]\nname = "debian"\nfolder = "tree"\nping_token_file = "token"\n';

async function check(toml: string, ...more: readonly string[]): Promise<{ exitCode: number | null; output: string }> {
  write("it.toml", `state = "state"\n${toml}`);
  const result = await runCommand(["check", join(work, "it.toml"), ...more]);
  expect(result.output).not.toMatch(/the-token-of|the passphrase of|aaaaaaaa|PRIVATE KEY-/);
  return result;
}

test("a valid configuration is called valid, and nothing is created", async () => {
  const { exitCode, output } = await check(`${table}signing_key_file = "key.asc"\n`);
  expect(output).toBe(`${join(work, "it.toml")} is valid\n`);
  expect(exitCode).toBe(0);
  expect((await runCommand(["snapshot", "list", "--config", join(work, "it.toml")])).output).toMatch(/state/);
  expect(JSON.parse((await check(table, "--json")).output)).toEqual({ status: "valid", warnings: [] });
});

test("all mistakes of the text are named at once, with their keys", async () => {
  const { exitCode, output } = await check(`poll_secs = 1\nbehind_proxy = 1\n${table}origin = ""\nreader = 5\n`);
  expect(exitCode).toBe(2);
  for (const key of ["poll_secs", "behind_proxy", "repository[0].origin", "repository[0].reader"])
    expect(output).toContain(`error: ${key}: `);
});

test("keys that APT rejects, wrong passphrases, bad bundles and unwritable directories are named at once", async () => {
  const { exitCode, output } = await check(
    `${table}signing_key_file = ["weak.asc", "locked.asc", "a-key.asc"]\n`.replace('"a-key.asc"', '"key.asc"') +
      'export_directory = "a-file/site"\n',
  );
  expect(exitCode).toBe(2);
  expect(output).toMatch(/error: repository\.debian\.signing_key_file: .*weak\.asc: .*algorithm/);
  expect(output).toMatch(
    /error: repository\.debian\.signing_key_file: .*locked\.asc: the signing key has a passphrase/,
  );
  expect(output).toMatch(/error: repository\.debian\.export_directory: .*a-file\/site cannot be written/);
  write("passphrase", "another one\n");
  const locked = `${table}signing_key_file = "locked.asc"\nsigning_passphrase_file = "passphrase"\n`;
  expect((await check(locked)).output).toContain("the passphrase does not open the signing key");
  write("passphrase", `${passphrase}\n`);
  expect((await check(locked)).exitCode).toBe(0);
  const json = JSON.parse((await check(`${table}signing_key_file = "weak.asc"\n`, "--json")).output) as object;
  expect(json).toMatchObject({ status: "failed", exitCode: 2, code: "configuration/invalid", warnings: [] });
});

test("secrets that others can read, keys that expire and shared tokens are warnings", async () => {
  write("open-token", "the-token-of-somebody\n", 0o644);
  const builder = (name: string) =>
    `[[repository.builder]]\nname = "${name}"\ntoken_file = "open-token"\ndirectory = "dists"\n`;
  const { exitCode, output } = await check(
    `${table}signing_key_file = ["key.asc", "soon.asc", "expired.asc"]\n${builder("alice")}${builder("bob")}`,
  );
  expect(exitCode).toBe(0);
  expect(output).toMatch(/warning: .*open-token: others may read this secret/);
  expect(output).toMatch(/warning: .*soon\.asc: expires in 1[45] days/);
  expect(output).toMatch(/warning: .*expired\.asc: has expired/);
  expect(output).toContain("alice and bob have the same token");
  const only = await check(`${table}signing_key_file = "expired.asc"\n`);
  expect(only.exitCode).toBe(2);
  expect(only.output).toContain("no key can sign");
});

test("what cannot be reached is only asked for with --online, and is named with its gateway, directory or URL", async () => {
  const tahoe = (url: string, bundle: string) =>
    `[[repository]]\nname = "debian"\nwebapi = ["${url}"]\nreadcap_file = "readcap"\nping_token_file = "token"\n` +
    `publish_bundle_file = "${bundle}"\n`;
  const away = `public_url = "http://127.0.0.1:1"\n${tahoe("http://127.0.0.1:1", "away.bundle")}`;
  expect((await check(away)).exitCode).toBe(0);
  const { exitCode, output } = await check(away, "--online");
  expect(exitCode).toBe(1);
  expect(output).toMatch(/error: repository\.debian\.webapi: http:\/\/127\.0\.0\.1:1: /);
  expect(output).toMatch(/error: repository\.debian\.publish_bundle_file: the directory dists: /);
  expect(output).toMatch(/error: public_url: http:\/\/127\.0\.0\.1:1 does not lead to a running server: /);
  expect(
    (await check(`public_url = "${gateway.url}"\n${tahoe(gateway.url, "good.bundle")}`, "--online")).exitCode,
  ).toBe(0);
});

test("a public_url that redirects is named with where it leads, because builders would be sent there with their tokens", async () => {
  const proxy = await fakeGateway((request, response) => {
    response.writeHead(301, { Location: `${gateway.url}${request.url}` }).end();
  });
  onTestFinished(() => proxy.end());
  const { exitCode, output } = await check(`public_url = "${proxy.url}"\n${table}`, "--online");
  expect(exitCode).toBe(1);
  expect(output).toContain(`it redirects to ${gateway.url}/healthz: name the address without a redirect`);
});

test("keys, files and directories are checked although the text has mistakes, and nothing is said of what is unknown", async () => {
  write("no-passphrase", "");
  const { exitCode, output } = await check(
    'poll_secs = 1\nmetrics_token_file = "no-token"\n' +
      '[[repository]]\nfolder = "no-folder"\nsigning_key_file = ["weak.asc", "locked.asc", "no-key.asc"]\n' +
      'signing_passphrase_file = "no-passphrase"\norigin = ""\nexport_directory = "a-file/site"\n' +
      '[[repository.builder]]\nname = "alice"\ntoken_file = "no-token-of-alice"\n' +
      "[repository.suite.sid]\nbut_automatic_upgrades = true\n" +
      `[[repository]]\nname = "other"\nfolder = "tree"\npublish_bundle_file = "no.bundle"\n`,
  );
  expect(exitCode).toBe(2);
  const lines = output
    .trimEnd()
    .split("\n")
    .map((line) => line.replaceAll(`${work}/`, ""));
  for (const expected of [
    /^error: poll_secs: is not a known key$/,
    /^error: metrics_token_file: no-token: no such file/,
    /^error: repository\[0\]\.name: is missing$/,
    /^error: repository\[0\]\.folder: no-folder: is not a directory$/,
    /^error: repository\[0\]\.signing_key_file\[2\]: no-key\.asc: no such file/,
    /^error: repository\[0\]\.signing_passphrase_file\[0\]: no-passphrase: is empty$/,
    /^error: repository\[0\]\.origin: is empty$/,
    /^error: repository\[0\]\.builder\[0\]\.token_file: no-token-of-alice: no such file/,
    /^error: repository\[0\]\.builder\[0\]\.directory: is missing$/,
    /^error: repository\[0\]\.suite\.sid\.but_automatic_upgrades: has no effect without not_automatic/,
    /^error: repository\[1\]\.publish_bundle_file: opens a Tahoe tree, and folder is none/,
    /^error: repository\.number-1\.signing_key_file: weak\.asc: .*algorithm/,
    /^error: repository\.number-1\.export_directory: .*a-file\/site cannot be written/,
    /^error: repository\.other\.publish_bundle_file: cannot read the bundle no\.bundle: no such file/,
  ])
    expect(lines.filter((line) => expected.test(line), String(expected))).toHaveLength(1);
  expect(lines).toHaveLength(14);
});

test("a line that is no TOML hides neither the other lines nor the files that they name", async () => {
  const broken = (lines: string) =>
    check(`${lines}${table}signing_key_file = "weak.asc"\nexport_directory = "a-file/site"\n`);
  const files = [/signing_key_file: .*weak\.asc: .*algorithm/, /export_directory: .*a-file\/site cannot be written/];
  const { exitCode, output } = await broken("poll_seconds = 5 minutes\nstate = \nbehind_proxy = yes\nno_key = 1\n");
  expect(exitCode).toBe(2);
  const texts = [/line 2 is not valid TOML/, /line 3 is not/, /line 4 is not/, /error: no_key: is not a known key/];
  for (const expected of [...texts, ...files]) expect(output).toMatch(expected);
  expect(output.trimEnd().split("\n")).toHaveLength(6);
  // The keys of such a line are not said to be missing, although they are required.
  const header = await check(
    `poll_secs = 1\n[[repository]]\nname = debian\nfolder = "no-folder"\n[broken\nlisten = 5\n`,
  );
  const listed = header.output.trimEnd().split("\n");
  for (const expected of [/line 4 is not/, /line 6 is not/, /poll_secs: is not/, /folder: .*no-folder: is not/])
    expect(listed.filter((line) => expected.test(line), String(expected))).toHaveLength(1);
  expect(listed).toHaveLength(4);
});
