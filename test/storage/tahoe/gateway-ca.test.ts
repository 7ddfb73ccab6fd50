// A gateway with a certificate of a private authority: trusted if configured, and otherwise rejected with a hint.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { rootPath } from "../../../src/base/names.ts";
import { defaultLimits } from "../../../src/config/configuration.ts";
import { ConfigurationError } from "../../../src/config/configuration-error.ts";
import { loadConfiguration } from "../../../src/config/load-config.ts";
import { openTree } from "../../../src/server/open-tree.ts";
import { parseCertificates } from "../../../src/storage/tahoe/certificates.ts";
import { Webapi } from "../../../src/storage/tahoe/webapi.ts";
import { WebapiTree } from "../../../src/storage/tahoe/webapi-tree.ts";
import type { FakeGateway } from "../../support/fake-gateway.ts";
import { fakeGateway } from "../../support/fake-gateway.ts";
import { cap, failure, signal } from "../../support/gateway-subject.ts";
import type { TlsProxy } from "../../support/tls-proxy.ts";
import { tlsProxy } from "../../support/tls-proxy.ts";

const directory = mkdtempSync(join(tmpdir(), "gateway-ca-"));
let gateway: FakeGateway;
let proxy: TlsProxy;

beforeAll(async () => {
  gateway = await fakeGateway((_, response) => response.end('["dirnode", {"children": {}}]'));
  proxy = await tlsProxy(gateway.url, directory);
  writeFileSync(join(directory, "readcap"), cap.reveal(), { mode: 0o600 });
});
afterAll(async () => {
  await proxy.end();
  await gateway.end();
  rmSync(directory, { recursive: true });
});

const configured = (gatewayCa: string) => {
  const file = join(directory, "c.toml");
  const repository = `name = "debian"\nwebapi = "${proxy.url}"\nreadcap_file = "readcap"\n${gatewayCa}`;
  writeFileSync(file, `[[repository]]\n${repository}\n`);
  return loadConfiguration({ config: file }, {}, directory).repositories[0]?.tree;
};

test("gateway_ca_file makes a gateway with a private authority trusted, and so does its flag", async () => {
  const flags = { webapi: [proxy.url], readcapFile: "readcap", gatewayCaFile: "ca.pem" };
  const byFlag = loadConfiguration(flags, {}, directory).repositories[0]?.tree;
  for (const tree of [configured('gateway_ca_file = "ca.pem"'), byFlag]) {
    if (tree === undefined) throw new Error("there is no repository");
    const opened = openTree(tree, defaultLimits, undefined, (each) => each);
    expect(await opened.look(rootPath, signal)).toMatchObject({ kind: "directory" });
  }
});

test("without it, the connection fails at once, and the error says what to configure", async () => {
  const thrown = await failure(new WebapiTree(new Webapi(proxy.url), cap).look(rootPath, signal));
  expect(thrown.message).toContain(`the certificate of ${proxy.url} is not trusted`);
  expect(thrown.message).toContain("gateway_ca_file");
  expect(thrown.transient).toBe(false);
});

test("another authority's certificate does not help", async () => {
  const other = mkdtempSync(join(directory, "other-"));
  const another = await tlsProxy(gateway.url, other);
  const webapi = new Webapi(proxy.url, defaultLimits.webapi, readFileSync(another.caFile, "utf8"));
  expect((await failure(new WebapiTree(webapi, cap).look(rootPath, signal))).message).toContain("is not trusted");
  await another.end();
});

test.each([
  ["readcap", "contains no certificate"],
  ["broken.pem", "contains an invalid certificate between"],
  ["absent.pem", "no such file"],
])("%s is no file of certificates, and it is named", (name, why) => {
  const text = readFileSync(proxy.caFile, "utf8");
  writeFileSync(join(directory, "broken.pem"), text.replace(/\n.{20}/, "\nAAAAAAAAAAAAAAAAAAAA"));
  const load = () => configured(`gateway_ca_file = "${name}"`);
  expect(load).toThrow(ConfigurationError);
  expect(load).toThrow(join(directory, name));
  expect(load).toThrow(why);
});

test("only the certificates of a file that also contains a key are kept", () => {
  const certificate = readFileSync(proxy.caFile, "utf8").trim();
  const key = readFileSync(join(directory, "ca.key"), "utf8");
  expect(parseCertificates(`${key}\n${certificate}\n${certificate}\n`)).toBe(`${certificate}\n${certificate}\n`);
});
