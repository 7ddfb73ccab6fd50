// The configuration of webhooks: where events may go, and what is never quoted.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import { expect, test } from "vitest";
import type { Configuration } from "../../src/config/configuration.ts";
import { changesBetween } from "../../src/config/configuration-changes.ts";
import { ConfigurationError } from "../../src/config/configuration-error.ts";
import { loadConfiguration } from "../../src/config/load-config.ts";
import { temporaryDirectoryOfFile } from "../support/temporary-directory.ts";

const directory = temporaryDirectoryOfFile("config-webhooks");
const secret = `whsec_${Buffer.alloc(32, "secret").toString("base64")}`;
writeFileSync(join(directory, "hook"), `${secret}\n`, { mode: 0o600 });
writeFileSync(join(directory, "weak"), "a-weak-secret\n", { mode: 0o600 });
const url = "https://ci.example.org/hook?token=a-token-in-the-url";

function load(...webhooks: readonly string[]): Configuration {
  const tables = webhooks.map((keys) => `[[repository.webhook]]\n${keys}\n`);
  writeFileSync(join(directory, "c.toml"), `[[repository]]\nname = "debian"\nfolder = "."\n${tables.join("")}`);
  return loadConfiguration({ config: "c.toml" }, {}, directory);
}

function mistakesOf(...webhooks: readonly string[]): readonly string[] {
  try {
    load(...webhooks);
    return [];
  } catch (thrown) {
    if (thrown instanceof ConfigurationError) return thrown.mistakes;
    throw thrown;
  }
}

const aWebhook = `url = "${url}"\nsecret_file = "hook"`;

test("a webhook has a URL and a secret, and optionally suites and a timeout", () => {
  const configuration = load(
    aWebhook,
    'url = "http://127.0.0.1:8080/"\nsecret_file = ["hook", "hook"]\nsuites = ["sid"]\ntimeout_seconds = 3',
  );
  const [one, other] = configuration.repositories[0]?.webhooks ?? [];
  expect(one).toMatchObject({ suites: [], timeoutSeconds: 10 });
  expect([one?.url.reveal(), one?.secrets.map((each) => each.reveal())]).toEqual([url, [secret.slice(6)]]);
  expect(other).toMatchObject({ suites: ["sid"], timeoutSeconds: 3 });
  expect(other?.secrets).toHaveLength(2);
  expect(inspect(configuration, { depth: 9 })).not.toMatch(/a-token-in-the-url|c2VjcmV0c2Vj/);
});

test.each(["http://localhost:1/", "http://127.0.0.1/", "http://10.1.2.3/", "http://[::1]/", "http://[fd00::1]:80/x"])(
  "%s needs no encryption",
  (plain) => expect(mistakesOf(`url = "${plain}"\nsecret_file = "hook"`)).toEqual([]),
);

test.each(["http://ci.example.org/", "http://8.8.8.8/", "http://localhost.example.org/", "http://[2001:db8::1]/"])(
  "%s needs encryption, unless the operator allows it",
  (plain) => {
    const keys = `url = "${plain}"\nsecret_file = "hook"`;
    expect(mistakesOf(keys)).toEqual([
      "repository[0].webhook[0].url: is not https, nor an address of this machine or of a private network; allow_http = true permits it",
    ]);
    expect(mistakesOf(`${keys}\nallow_http = true`)).toEqual([]);
  },
);

test("mistakes name the key, and quote neither the URL nor the secret", () => {
  const mistakes = mistakesOf(
    'url = "ftp://ci.example.org/a-token-in-the-url"\nsecret_file = "hook"',
    'url = "https://user:a-token-in-the-url@ci.example.org/"\nsecret_file = "hook"',
    `url = "${url}"\nsecret_file = "weak"`,
    `url = "${url}"\nsecret_file = "absent"`,
    `url = "${url}"`,
    `${aWebhook}\ntimeout_seconds = 61`,
    `${aWebhook}\nsuites = []`,
  );
  expect(mistakes.map((one) => one.split(":")[0])).toEqual([
    "repository[0].webhook[0].url",
    "repository[0].webhook[1].url",
    "repository[0].webhook[2].secret_file[0]",
    "repository[0].webhook[3].secret_file[0]",
    "repository[0].webhook[4].secret_file",
    "repository[0].webhook[5].timeout_seconds",
    "repository[0].webhook[6].suites",
  ]);
  expect(mistakes.join()).not.toMatch(/a-token|a-weak-secret/);
  expect(mistakes[2]).toContain("24 to 64 bytes in base64");
});

test("a URL can be named once, because its events are in one order", () => {
  expect(mistakesOf(aWebhook, aWebhook)).toEqual(["repository[0].webhook: has the same url twice"]);
});

test("changed webhooks take effect without opening the repository again", () => {
  const changes = changesBetween(load(), load(aWebhook));
  expect(changes.live).toEqual(["repository.debian.webhook"]);
  expect([changes.restart, [...changes.reopened]]).toEqual([[], []]);
});
