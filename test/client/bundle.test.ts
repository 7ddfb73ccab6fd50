// Bundles: written and read back, every mistake named, and nothing of their secrets told.
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

/** Of an authority whose key is lost. */
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

const plainly = ({ directories, ping, ...rest }: Bundle) => ({
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
  expect(plainly(parseBundle(formatBundle(bundle).reveal()))).toEqual(plainly(bundle));
});

test("every mistake is named by its place, and no cap or token is told", () => {
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
  const told = broken.map((each) => {
    try {
      return plainly(parseBundle(each));
    } catch (thrown) {
      expect(thrown).toBeInstanceOf(BundleError);
      for (const secret of [cap, token]) expect(inspect(thrown, { depth: 9 })).not.toContain(secret);
      return (thrown as Error).message;
    }
  });
  expect(told).toEqual([
    expect.stringMatching(/^webapi\.0: .*directory\.0\.writecap: .*write cap/),
    "the bundle: ping_url and ping_token belong together",
    "ping_url: must not hold a user or a password",
    expect.stringMatching(/^line 2 is not valid TOML/),
    expect.stringMatching(/^directory\.0\.path: /),
    "the bundle: one directory lies within another",
    expect.stringMatching(/^directory\.1: .*writecap_/),
  ]);
});

test("a bundle's file that others may read is complained of, and one that is not there is an error", async () => {
  const directory = mkdtempSync(join(tmpdir(), "bundle-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const file = join(directory, "alice.bundle");
  const complaints: string[] = [];
  const complain = (text: string) => void complaints.push(text);
  writeFileSync(file, formatBundle(aBundle).reveal(), { mode: 0o600 });
  expect((await readBundle(file, complain)).name).toBe("alice");
  expect(complaints).toEqual([]);
  chmodSync(file, 0o644);
  await readBundle(file, complain);
  expect(complaints).toEqual([expect.stringContaining("chmod 600")]);
  await expect(readBundle(join(directory, "none"), complain)).rejects.toBeInstanceOf(BundleError);
});
