// Secrets are created once: an existing file is never replaced, because others rely on its content.
import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { Secret } from "../../src/base/secret.ts";
import { openSecretFile } from "../../src/base/secret-file.ts";
import { CommandLine } from "../support/command-line.ts";
import { temporaryDirectory } from "../support/temporary-directory.ts";

const aFile = (): string => join(temporaryDirectory("secret-file"), "token");
const made = async (): Promise<Secret> => new Secret("made just now");

test("a missing secret is created, readable by its owner only, and read again later", async () => {
  const file = aFile();
  expect((await openSecretFile(file, made)).reveal()).toBe("made just now");
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect((await openSecretFile(file, async () => new Secret("another"))).reveal()).toBe("made just now");
});

test.each([
  ["is empty", (file: string) => writeFile(file, " \n")],
  ["cannot be read", (file: string) => mkdir(file)],
])("a file that %s is named in the error and is not replaced", async (_, spoil) => {
  const file = aFile();
  await spoil(file);
  const before = await stat(file);
  await expect(openSecretFile(file, made)).rejects.toThrow(file);
  expect((await stat(file)).ino).toBe(before.ino);
});

test("a server does not replace a signing key that it cannot use, and names its file", async () => {
  const state = temporaryDirectory("secret-file");
  const key = join(state, "repositories/debian/signing-key.asc");
  await mkdir(join(state, "repositories/debian"), { recursive: true });
  await writeFile(key, "", { mode: 0o600 });
  const command = new CommandLine(["serve", "--folder", state, "--state", state, "--listen", "127.0.0.1:0"]);
  onTestFinished(async () => void (await command.stop("SIGKILL")));
  expect(await command.ends()).toBe(1);
  expect(command.output).toMatch(/tahoe-apt: .*signing-key\.asc/);
  expect(await readFile(key, "utf8")).toBe("");
});
