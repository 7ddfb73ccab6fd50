// The key file is created once, atomically, and readable by its owner only.
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import type { Log } from "../../src/base/log.ts";
import { silentLog } from "../../src/base/log.ts";
import { KeyFileError, maxKeyFileBytes, openKeyFile, readKeyFile } from "../../src/signing/key-file.ts";
import { openpgpSigner } from "../../src/signing/openpgp-signer.ts";

const directory = mkdtempSync(join(tmpdir(), "key-file-"));
afterAll(() => rmSync(directory, { recursive: true }));

function aLog(): { readonly log: Log; readonly warnings: string[] } {
  const warnings: string[] = [];
  return { log: { ...silentLog, warn: (_, message) => warnings.push(message) }, warnings };
}

test("the first start creates a key, and every later start finds it, also with two concurrent starts", async () => {
  const path = join(directory, "new", "signing.asc");
  const options = { name: "Tests", now: Date.now, log: silentLog };
  const [one, two] = await Promise.all([openKeyFile(path, options), openKeyFile(path, options)]);
  expect(two.reveal()).toBe(one.reveal());
  expect((await openKeyFile(path, options)).reveal()).toBe(one.reveal());
  expect(readFileSync(path, "utf8")).toBe(one.reveal());
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(readdirSync(join(directory, "new"))).toEqual(["signing.asc"]);
  await openpgpSigner([{ file: path, armored: one }], { now: Date.now });
});

test("a key that others may read is used, with a warning", async () => {
  const path = join(directory, "open.asc");
  writeFileSync(path, "the key");
  for (const [mode, count] of [
    [0o600, 0],
    [0o640, 1],
    [0o604, 1],
  ] as const) {
    chmodSync(path, mode);
    const { log, warnings } = aLog();
    expect((await readKeyFile(path, { log })).reveal()).toBe("the key");
    expect(warnings).toHaveLength(count);
  }
});

test("the error for a key file that is missing, not a file or too large names it, without its content", async () => {
  await expect(readKeyFile(join(directory, "none.asc"), { log: silentLog })).rejects.toThrow("none.asc");
  await expect(readKeyFile(directory, { log: silentLog })).rejects.toThrow("cannot read");
  const large = join(directory, "large.asc");
  writeFileSync(large, "s".repeat(maxKeyFileBytes + 1), { mode: 0o600 });
  await expect(readKeyFile(large, { log: silentLog })).rejects.toThrow("maxKeyFileBytes");
});

test("the error for a directory that cannot be written names it", async () => {
  const file = join(directory, "file");
  writeFileSync(file, "");
  const inFile = openKeyFile(join(file, "signing.asc"), { name: "Tests", now: Date.now, log: silentLog });
  await expect(inFile).rejects.toThrow(KeyFileError);
});
