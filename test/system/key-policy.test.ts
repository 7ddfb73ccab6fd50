// The keys that we accept and reject, compared with both of apt's verifiers, now and in a year.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Secret } from "../../src/base/secret.ts";
import { openKey, UnfitKey } from "../../src/signing/openpgp-key.ts";
import { runTool } from "../support/debs.ts";
import type { Machine } from "../support/rootfs.ts";
import { debianMachine } from "../support/rootfs.ts";

const setUpMs = 480_000;
const release = "Origin: Tests\nSuite: sid\n";

/** The options with which gpg generates each key: its algorithm and its self-signature. */
const kinds: {
  readonly [name: string]: { readonly algorithm: string; readonly digest?: string; readonly isFit: boolean };
} = {
  rsa2048: { algorithm: "rsa2048", isFit: false },
  rsa3072: { algorithm: "rsa3072", isFit: true },
  rsa4096: { algorithm: "rsa4096", isFit: true },
  ed25519: { algorithm: "ed25519", isFit: true },
  nistp256: { algorithm: "nistp256", isFit: false },
  brainpool: { algorithm: "brainpoolP256r1", isFit: false },
  dsa: { algorithm: "dsa2048", isFit: false },
  sha1: { algorithm: "rsa3072", digest: "SHA1", isFit: false },
  sha224: { algorithm: "rsa3072", digest: "SHA224", isFit: false },
};

const directory = mkdtempSync(join(tmpdir(), "key-policy-"));
const names = Object.keys(kinds);
const secrets = new Map<string, Secret>();
let bookworm: Machine;
let trixie: Machine;

beforeAll(async () => {
  [bookworm, trixie] = [await debianMachine("bookworm"), await debianMachine("trixie")];
  for (const [name, { algorithm, digest = "SHA512" }] of Object.entries(kinds)) {
    const home = join(directory, name);
    mkdirSync(home, { mode: 0o700 });
    const gpg = (args: readonly string[], input = "") =>
      runTool(
        "gpg",
        ["--homedir", home, "--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback", ...args],
        input,
        "gnupg",
      );
    gpg(["--cert-digest-algo", digest, "--quick-generate-key", name, algorithm, "sign", "never"]);
    secrets.set(name, new Secret(gpg(["--armor", "--export-secret-keys"]).toString()));
    const files = {
      [`${name}.pgp`]: gpg(["--export"]),
      [`${name}.sig`]: gpg(["--digest-algo", "SHA512", "--detach-sign"], release),
      Release: release,
    };
    for (const machine of [bookworm, trixie]) {
      for (const [file, bytes] of Object.entries(files)) writeFileSync(join(machine.changes, file), bytes);
    }
  }
}, setUpMs);

afterAll(async () => {
  await bookworm?.remove();
  await trixie?.remove();
  rmSync(directory, { recursive: true });
});

/** @param verify a shell command, in which $key is a key's name @returns the keys that it accepts */
async function takenBy(machine: Machine, verify: string): Promise<readonly string[]> {
  const script = `cd /; for key in ${names.join(" ")}; do ${verify} >/dev/null 2>&1 && echo $key; done; true`;
  const [command, args] = await machine.enter(script);
  return runTool(command, [...args], "", "util-linux")
    .toString()
    .trim()
    .split("\n");
}

/** With apt's own policy. @param date undefined for today */
const sqv = (date?: Date): string => {
  const policy = "SEQUOIA_CRYPTO_POLICY=/usr/share/apt/default-sequoia.config";
  const day = date === undefined ? "" : `--policy-as-of ${date.toISOString().slice(0, 10)}`;
  return `env ${policy} sqv --keyring $key.pgp ${day} --signature-file $key.sig Release`;
};

test.each(names)("%s is accepted or rejected as expected", async (name) => {
  const opened = openKey({ file: `${name}.asc`, armored: secrets.get(name)! }, { passphrases: [], now: Date.now });
  if (kinds[name]?.isFit === true) await opened;
  else await expect(opened).rejects.toThrow(UnfitKey);
});

test("every key that we accept is accepted by both of apt's verifiers, today and in a year", async () => {
  const inAYear = new Date(Date.now() + 365 * 24 * 3600 * 1000);
  const fit = names.filter((name) => kinds[name]?.isFit);
  expect(await takenBy(bookworm, "gpgv --keyring /$key.pgp $key.sig Release")).toEqual(expect.arrayContaining(fit));
  expect(await takenBy(trixie, sqv())).toEqual(expect.arrayContaining(fit));
  expect(await takenBy(trixie, sqv(inAYear))).toEqual(expect.arrayContaining(fit));
});

test("the verifiers reject some of the keys that we reject, each at its time", async () => {
  const refused = async (date?: Date) => {
    const taken = await takenBy(trixie, sqv(date));
    return names.filter((name) => !taken.includes(name));
  };
  const in2026 = await refused(new Date("2026-11-01"));
  expect(in2026).toEqual(expect.arrayContaining(["dsa", "sha1", "sha224"]));
  expect(in2026).not.toContain("rsa2048");
  expect(await refused(new Date("2030-03-01"))).toEqual(expect.arrayContaining([...in2026, "rsa2048"]));
});
