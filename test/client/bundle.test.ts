// Bundles are written and parsed; errors list every mistake, but never reveal secrets.
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { parseSuite, parseTreePath, rootPath } from "../../src/base/names.ts";
import { Secret } from "../../src/base/secret.ts";
import type { Bundle } from "../../src/client/bundle.ts";
import { BundleError, formatBundle, parseBundle, readBundle } from "../../src/client/bundle.ts";
import { parseWriteCap } from "../../src/storage/tahoe/caps.ts";

const cap = `URI:DIR2:${"a".repeat(26)}:${"b".repeat(52)}`;
const token = "a-token-that-nobody-guesses";

/** A self-signed certificate, whose private key was deleted. */
const certificate = `-----BEGIN CERTIFICATE-----
MIIBbDCCAROgAwIBAgIUWsyYe9gdPmLClWycuTZOFD//26AwCgYIKoZIzj0EAwIw
DDEKMAgGA1UEAwwBeDAeFw0yNjExMjkxNjQ2NTdaFw0zNjExMjYxNjQ2NTdaMAwx
CjAIBgNVBAMMAXgwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARHPCD99bv1s7Mb
k22xYxkEEDmURiXE5zWMThp9/wCmItabGj47I+HttFsyHjbBLU6Wx3HbpeZ7Coav
OvUHkIkJo1MwUTAdBgNVHQ4EFgQU9y8cEJo4wHuYU9UWBCWs7qfIV54wHwYDVR0j
BBgwFoAU9y8cEJo4wHuYU9UWBCWs7qfIV54wDwYDVR0TAQH/BAUwAwEB/zAKBggq
hkjOPQQDAgNHADBEAiBKzO1dIum10m9DcvKippRXCGhRuTpKpURslZOZoidX5QIg
BAKcEwmRkIIrr6sQ6VTTcAJuOMo29wf1/NVwIcoVrAo=
-----END CERTIFICATE-----
`;

const aBundle: Bundle = {
  name: "alice",
  gateways: ["http://127.0.0.1:3456"],
  directories: [
    { path: parseTreePath("dists/sid/main/source/alice"), cap: parseWriteCap(cap) },
    { path: parseTreePath("dists/sid/main/binary-amd64/alice"), cap: parseWriteCap(cap) },
  ],
  ping: { url: "https://apt.example.org/-/ping/debian", token: new Secret(token) },
};

const withRevealedSecrets = ({ directories, ping, ...rest }: Bundle) => ({
  ...rest,
  directories: directories.map((one) => [one.path, one.cap.reveal()]),
  ping: ping && [ping.url, ping.token.reveal()],
});

test.each([
  ["a builder's", aBundle],
  ["a tree's owner's", { ...aBundle, directories: [{ path: rootPath, cap: parseWriteCap(cap) }], ping: undefined }],
  ["a bundle with an authority's certificate, as a", { ...aBundle, gatewayCa: certificate }],
  ["a bundle that knows suites with a slash, as a", { ...aBundle, suitesWithSlash: [parseSuite("bookworm/updates")] }],
])("%s bundle reads back as it was written", (_whose, bundle) => {
  expect(withRevealedSecrets(parseBundle(formatBundle(bundle).reveal()))).toEqual(withRevealedSecrets(bundle));
});

test("errors list the path of every mistake, and contain no cap and no token", () => {
  const text = formatBundle(aBundle).reveal();
  const broken = [
    text.replace(cap, `${cap}x`).replace("http://127.0.0.1:3456", `http://127.0.0.1:3456/uri/${cap}`),
    text.replace(/^ping_url.*\n/m, ""),
    text.replace(/^ping_url = "https?:\/\//m, (start) => `${start}alice:${token}@`),
    text.replace('name = "alice"', `name = "${cap}`),
    text.replace("source/alice", "../alice"),
    text.replace("dists/sid/main/source/alice", "dists/sid/main"),
    `${text}writecap_ = "${cap}"\n`,
  ];
  const messages = broken.map((each) => {
    try {
      return withRevealedSecrets(parseBundle(each));
    } catch (thrown) {
      expect(thrown).toBeInstanceOf(BundleError);
      for (const secret of [cap, token]) expect(inspect(thrown, { depth: 9 })).not.toContain(secret);
      return (thrown as Error).message;
    }
  });
  expect(messages).toEqual([
    expect.stringMatching(/^webapi\.0: .*directory\.0\.writecap: .*write cap/),
    "the bundle: ping_url and ping_token must be given together",
    "ping_url: must not contain a user name or password",
    expect.stringMatching(/^line 2 is not valid TOML/),
    expect.stringMatching(/^directory\.0\.path: /),
    "the bundle: one directory is inside another",
    expect.stringMatching(/^directory\.1: .*writecap_/),
  ]);
});

test("a bundle file that other users may read causes a warning, and a missing one an error", async () => {
  const directory = mkdtempSync(join(tmpdir(), "bundle-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const file = join(directory, "alice.bundle");
  const warnings: string[] = [];
  const warn = (text: string) => void warnings.push(text);
  writeFileSync(file, formatBundle(aBundle).reveal(), { mode: 0o600 });
  expect((await readBundle(file, warn)).name).toBe("alice");
  expect(warnings).toEqual([]);
  chmodSync(file, 0o644);
  await readBundle(file, warn);
  expect(warnings).toEqual([expect.stringContaining("chmod 600")]);
  await expect(readBundle(join(directory, "none"), warn)).rejects.toBeInstanceOf(BundleError);
});
