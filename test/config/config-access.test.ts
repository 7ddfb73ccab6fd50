// The configuration of signing keys, readers and trusted proxies.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Configuration } from "../../src/config/configuration.ts";
import { ConfigurationError } from "../../src/config/configuration-error.ts";
import { loadConfiguration } from "../../src/config/load-config.ts";
import { temporaryDirectoryOfFile } from "../support/temporary-directory.ts";

const directory = temporaryDirectoryOfFile("config-access");
for (const name of ["old.asc", "new.asc", "words", "bob.password", "metrics.token"]) {
  writeFileSync(join(directory, name), `the-secret-of-${name}\n`, { mode: 0o600 });
}
writeFileSync(join(directory, "short"), "short\n", { mode: 0o600 });
writeFileSync(join(directory, "blank"), "correct horse battery\n", { mode: 0o600 });

/** @param keys configuration keys of the repository @param above configuration keys of the file */
function load(keys: string, above = ""): Configuration {
  const text = `${above}\n[[repository]]\nname = "debian"\nfolder = "."\n${keys}\n`;
  writeFileSync(join(directory, "c.toml"), text);
  return loadConfiguration({ config: "c.toml" }, {}, directory);
}

function mistakesOf(keys: string): readonly string[] {
  try {
    load(keys);
  } catch (error) {
    if (error instanceof ConfigurationError) return error.mistakes;
    throw error;
  }
  return [];
}

const ofFirst = ({ repositories }: Configuration) => repositories[0]!;

test("one key or several keys may sign, each named by its file", () => {
  const files = (keys: string) => ofFirst(load(keys)).signingKeys.map(({ file }) => file);
  expect(files("")).toEqual([]);
  expect(files('signing_key_file = "old.asc"')).toEqual([join(directory, "old.asc")]);
  const both = 'signing_key_file = ["old.asc", "new.asc"]\nsigning_passphrase_file = ["words"]';
  expect(files(both)).toEqual([join(directory, "old.asc"), join(directory, "new.asc")]);
  expect(ofFirst(load(both)).signingPassphrases.map((secret) => secret.reveal())).toEqual(["the-secret-of-words"]);
});

test("a missing key is reported with its place", () => {
  expect(mistakesOf('signing_key_file = ["old.asc", "none.asc"]')).toEqual([
    `repository[0].signing_key_file[1]: ${join(directory, "none.asc")}: no such file or directory`,
  ]);
  expect(mistakesOf("signing_key_file = []")).toHaveLength(1);
  const ten = JSON.stringify(Array.from({ length: 10 }, () => "old.asc"));
  expect(mistakesOf(`signing_key_file = ${ten}`)).toHaveLength(1);
});

test("a repository may have readers, and passwords that are weak or that auth.conf cannot contain cause warnings", () => {
  expect(ofFirst(load("")).readers).toEqual([]);
  const configuration = load('[[repository.reader]]\nname = "bob"\npassword_file = "bob.password"');
  expect(configuration.warnings).toEqual([]);
  const [bob] = ofFirst(configuration).readers;
  expect([bob?.name, bob?.password.reveal()]).toEqual(["bob", "the-secret-of-bob.password"]);
  expect(JSON.stringify(configuration)).not.toContain("the-secret");
  for (const [file, why] of [
    ["short", "guessed"],
    ["blank", "auth.conf"],
  ]) {
    const { warnings } = load(`[[repository.reader]]\nname = "bob"\npassword_file = "${file}"`);
    expect(warnings).toEqual([expect.stringContaining(why ?? "")]);
  }
});

test("the name of a reader must not contain a colon, which would end it in HTTP basic authentication", () => {
  const [mistake] = mistakesOf('[[repository.reader]]\nname = "b:ob"\npassword_file = "bob.password"');
  expect(mistake).toMatch(/^repository\[0\]\.reader\[0\]\.name: .*colon/);
});

test("by default everybody may read the metrics and no proxy is trusted", () => {
  expect(load("")).toMatchObject({ behindProxy: false, metricsToken: undefined });
  const { behindProxy, metricsToken } = load("", 'behind_proxy = true\nmetrics_token_file = "metrics.token"');
  expect([behindProxy, metricsToken?.reveal()]).toEqual([true, "the-secret-of-metrics.token"]);
});
