// A real grid behind HTTPS with a private certificate: init, a builder's bundle and the server reach it.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fetch from "node-fetch";
import { afterAll, beforeAll, expect, inject, onTestFinished, test } from "vitest";
import { runCommand } from "../support/command-line.ts";
import { aDeb } from "../support/debs.ts";
import { freePort, ServerUnderTest } from "../support/server.ts";
import type { TlsProxy } from "../support/tls-proxy.ts";
import { tlsProxy } from "../support/tls-proxy.ts";

const work = mkdtempSync(join(tmpdir(), "tahoe-apt-ca-"));
let proxy: TlsProxy;
let server: ServerUnderTest | undefined;

beforeAll(async () => {
  proxy = await tlsProxy(inject("webapiUrl"), work);
});
afterAll(async () => {
  await server?.end();
  await proxy.end();
  rmSync(work, { recursive: true });
});

const run = async (...args: readonly string[]) => await runCommand(args, { cwd: work });

test("the certificate given to init is written into the bundles and the configuration", async () => {
  const port = await freePort();
  const init = ["init", "debian", "--webapi", proxy.url, "--listen", `127.0.0.1:${port}`, "--builder", "alice"];
  const refused = await run(...init);
  expect(refused.exitCode).not.toBe(0);
  expect(refused.output).toContain(`the certificate of ${proxy.url} is not trusted`);
  expect(refused.output).toContain("gateway_ca_file");
  rmSync(join(work, "debian"), { recursive: true, force: true });

  expect(await run(...init, "--gateway-ca-file", proxy.caFile)).toMatchObject({ exitCode: 0 });
  server = await ServerUnderTest.start({ flags: ["--config", join(work, "debian/tahoe-apt.toml")], port });
  await server.ready();

  const deb = join(work, "hello_1.0-1_amd64.deb");
  writeFileSync(deb, await aDeb({ package: "hello", architecture: "amd64" }));
  const bundle = join(work, "alice.bundle");
  writeFileSync(bundle, readFileSync(join(work, "debian/builders/alice.bundle")), { mode: 0o600 });
  expect(await run("put", "--bundle", bundle, deb)).toMatchObject({ exitCode: 0 });
  const packages = await fetch(`${server.url}/debian/dists/sid/main/binary-amd64/Packages`);
  expect(await packages.text()).toContain("Package: hello");
  expect((await run("deep-check", "--bundle", bundle)).exitCode).toBe(0);

  // The server may have such a certificate too.
  const secured = mkdtempSync(join(work, "server-"));
  const front = await tlsProxy(server.url, secured);
  onTestFinished(() => front.end());
  const atFront = join(secured, "alice.bundle");
  const text = readFileSync(bundle, "utf8");
  expect(text).toContain(`${server.url}/-/ping/debian`);
  writeFileSync(atFront, text.replace(`${server.url}/`, `${front.url}/`), { mode: 0o600 });
  const put = ["put", "--bundle", atFront, deb, "--timeout", "5"];
  const unheard = await run(...put);
  expect(unheard.exitCode).toBe(4);
  expect(unheard.output).toContain("NODE_EXTRA_CA_CERTS");
  expect(await runCommand(put, { cwd: work, env: { NODE_EXTRA_CA_CERTS: front.caFile } })).toMatchObject({
    exitCode: 0,
  });

  const without = readFileSync(bundle, "utf8").replace(/gateway_ca = (""".*?"""|".*?")\n/s, "");
  writeFileSync(bundle, without, { mode: 0o600 });
  const failed = await run("put", "--bundle", bundle, deb);
  expect(failed.exitCode).not.toBe(0);
  expect(failed.output).toContain("gateway_ca_file");
});
