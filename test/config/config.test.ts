// The whole configuration is checked: every mistake is reported with its place, and secrets are never quoted.
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import { expect, test } from "vitest";
import { ConfigurationError } from "../../src/config/configuration-error.ts";
import { loadConfiguration } from "../../src/config/load-config.ts";
import { temporaryDirectory } from "../support/temporary-directory.ts";

const readCap = "URI:DIR2-RO:aaaaaaaaaaaaaaaaaaaaaaaaaa:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const token = "a-token-that-is-long-enough";

/** A directory with the given files, readable only by their owner. */
function aDirectory(files: Readonly<Record<string, string>>): string {
  const directory = temporaryDirectory("config");
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text, { mode: 0o600 });
  return directory;
}

function mistakesOf(run: () => unknown): readonly string[] {
  try {
    run();
  } catch (error) {
    if (error instanceof ConfigurationError) return error.mistakes;
    throw error;
  }
  return [];
}

const good = `
listen = "[::1]:9000"
state = "state"
public_url = "https://apt.example.org/"
[[repository]]
name = "debian"
webapi = ["http://127.0.0.1:3456/", "http://127.0.0.2:3456"]
readcap_file = "readcap"
label = "Ours"
digests = ["sha512"]
dates_after = "Sun, 22 Nov 2026 13:45:00 UTC"
[repository.suite.sid]
codename = "unstable"
[[repository.builder]]
name = "alice"
token_file = "token"
directory = "dists/sid/main/binary-amd64/alice"
[[repository]]
name = "local"
folder = "."
`;

test("a file configures several repositories, each with its own tree, suite identity and builders", () => {
  const directory = aDirectory({ "c.toml": good, readcap: `${readCap}\n`, token });
  const configuration = loadConfiguration({ config: "c.toml" }, {}, directory);
  expect(configuration).toMatchObject({
    listen: { host: "::1", port: 9000 },
    stateDirectory: join(directory, "state"),
    publicUrl: "https://apt.example.org",
    warnings: [],
    repositories: [
      {
        name: "debian",
        tree: { kind: "tahoe", gateways: ["http://127.0.0.1:3456", "http://127.0.0.2:3456"] },
        origin: "debian",
        label: "Ours",
        digests: ["sha256", "sha512"],
        datesAfterSeconds: Date.UTC(2026, 10, 22, 13, 45) / 1000,
        suites: new Map([["sid", { codename: "unstable" }]]),
      },
      { name: "local", tree: { kind: "folder", directory }, digests: ["md5", "sha256"] },
    ],
  });
  const tree = configuration.repositories[0]!.tree;
  expect(tree.kind === "tahoe" && tree.readCap.reveal()).toBe(readCap);
  const [builders, none] = configuration.repositories.map((one) => one.builders(() => undefined));
  expect(builders).toMatchObject([{ name: "alice", directory: "dists/sid/main/binary-amd64/alice" }]);
  expect(builders![0]!.token.equals(token)).toBe(true);
  expect(none).toEqual([]);
});

test("pdiffs and translations of a suite override those of its repository", () => {
  const file = `
[[repository]]
name = "local"
folder = "."
translations = true
pdiffs = false
[repository.suite.sid]
translations = false
[repository.suite.stable]
pdiffs = true
`;
  const [one] = loadConfiguration({ config: "c.toml" }, {}, aDirectory({ "c.toml": file })).repositories;
  expect([one!.translations, one!.pdiffs]).toEqual([true, false]);
  expect(one!.suites.get("sid")).toEqual({ translations: false });
  expect(one!.suites.get("stable")).toEqual({ pdiffs: true });
});

test("indices are generated or prebuilt, the earlier name of prebuilt is accepted, and any other value is a mistake", () => {
  const suitesWith = (indices: string) => {
    const directory = aDirectory({ "c.toml": `[[repository]]\nname = "debian"\nfolder = "."\n${suite(indices)}` });
    return loadConfiguration({ config: "c.toml" }, {}, directory).repositories[0]?.suites.get("sid")?.indices;
  };
  const suite = (indices: string) => `[repository.suite.sid]\nindices = "${indices}"\n`;
  expect(["made", "prebuilt", "as-found"].map(suitesWith)).toEqual(["made", "prebuilt", "prebuilt"]);
  expect(mistakesOf(() => suitesWith("found"))).toEqual([
    expect.stringMatching(/^repository\[0\]\.suite\.sid\.indices: .*made.*prebuilt/),
  ]);
});

test("a printed configuration shows no secret", () => {
  const directory = aDirectory({ "c.toml": good, readcap: readCap, token });
  const configuration = loadConfiguration({ config: "c.toml" }, {}, directory);
  for (const printed of [JSON.stringify(configuration), inspect(configuration, { depth: 10 })]) {
    expect(printed).not.toContain(readCap.slice(12, 40));
    expect(printed).not.toContain(token);
  }
});

test("all mistakes are reported together, each with its place", () => {
  const directory = aDirectory({
    empty: "\n",
    "c.toml": `
      listen = "nowhere"
      colour = "blue"
      poll_seconds = 0
      [[repository]]
      name = "debian"
      folder = "missing"
      [[repository]]
      name = "metrics"
      webapi = "ftp://127.0.0.1"
      readcap_file = "missing"
      builders_file = "gone"
      [[repository]]
      name = "Debian"
      webapi = "http://127.0.0.1"
      folder = "."
      shade = "red"
      dates_after = "yesterday"
      [repository.suite."no suite"]
      codename = "x"
      [[repository.builder]]
      name = "alice"
      token_file = "empty"
      directory = "../up"
    `,
  });
  const mistakes = mistakesOf(() => loadConfiguration({ config: "c.toml" }, {}, directory));
  const places = mistakes.map((mistake) => mistake.slice(0, mistake.indexOf(":")));
  expect(places.sort()).toEqual([
    "colour",
    "listen",
    "poll_seconds",
    "repository[0].folder",
    "repository[1].builders_file",
    "repository[1].name",
    "repository[1].readcap_file",
    "repository[1].webapi[0]",
    "repository[2].builder[0].directory",
    "repository[2].builder[0].token_file",
    "repository[2].dates_after",
    "repository[2].folder",
    "repository[2].name",
    "repository[2].readcap_file",
    "repository[2].shade",
    "repository[2].suite.no suite",
  ]);
  expect(mistakes).toContain(`repository[1].readcap_file: ${join(directory, "missing")}: no such file or directory`);
  expect(mistakes).toContain(`repository[1].builders_file: ${join(directory, "gone")}: no such file or directory`);
});

test("two repositories cannot have the same export directory, however it is written", () => {
  const table = (name: string, site: string) =>
    `[[repository]]\nname = "${name}"\nfolder = "."\nexport_directory = "${site}"\n`;
  const directory = aDirectory({
    "c.toml": table("a", "site") + table("b", "./x/../site/") + table("c", "site/c"),
    "apart.toml": table("a", "site") + table("b", "other"),
  });
  expect(mistakesOf(() => loadConfiguration({ config: "c.toml" }, {}, directory))).toEqual([
    expect.stringMatching(/^repository\[1\]\.export_directory: is another repository's too/),
  ]);
  loadConfiguration({ config: "apart.toml" }, {}, directory);
});

test("a repository needs a tree, and a file needs a repository", () => {
  const directory = aDirectory({ "none.toml": "", "treeless.toml": '[[repository]]\nname = "debian"\n' });
  expect(mistakesOf(() => loadConfiguration({ config: "none.toml" }, {}, directory))).toHaveLength(1);
  expect(mistakesOf(() => loadConfiguration({ config: "treeless.toml" }, {}, directory))).toEqual([
    expect.stringMatching(/^repository\[0\]\.webapi: is missing/),
  ]);
  expect(mistakesOf(() => loadConfiguration({}, {}, directory))).toEqual([expect.stringMatching(/^--webapi: /)]);
});

test("a flat repository cannot be where suites or the server's pages are", () => {
  const table = (flat: string) => `[[repository]]\nname = "it"\nfolder = "."\nflat = ["${flat}"]\n`;
  for (const flat of ["-", "./-/", "-/deeper", "dists/sid"]) {
    const directory = aDirectory({ "c.toml": table(flat) });
    const mistakes = mistakesOf(() => loadConfiguration({ config: "c.toml" }, {}, directory)).join("\n");
    expect(mistakes, flat).toMatch(/^repository\[0\]\.flat\S*: /m);
  }
  const directory = aDirectory({ "c.toml": table("-extras") });
  expect(loadConfiguration({ config: "c.toml" }, {}, directory).repositories[0]?.flat).toContain("-extras");
});

test("flags configure one repository, and the environment may contain its secrets", () => {
  const directory = aDirectory({});
  const configuration = loadConfiguration(
    { webapi: ["http://127.0.0.1:3456"] },
    { TAHOE_APT_READCAP: readCap, TAHOE_APT_PING_TOKEN: token },
    directory,
  );
  expect(configuration.listen).toEqual({ host: "127.0.0.1", port: 8380 });
  expect(configuration.repositories).toHaveLength(1);
  expect(configuration.repositories[0]!.name).toBe("debian");
  expect(configuration.repositories[0]!.builders(() => undefined)).toMatchObject([{ directory: "" }]);
});

test("secrets in the environment are not used for the repositories of a file", () => {
  const directory = aDirectory({ "c.toml": '[[repository]]\nname = "debian"\nwebapi = "http://127.0.0.1"\n' });
  const mistakes = mistakesOf(() => loadConfiguration({ config: "c.toml" }, { TAHOE_APT_READCAP: readCap }, directory));
  expect(mistakes).toEqual([expect.stringMatching(/^repository\[0\]\.readcap_file: /)]);
});

test("an invalid cap is rejected without being quoted, wherever it is", () => {
  const directory = aDirectory({ readcap: "hunter2" });
  const webapi = ["http://127.0.0.1:3456"];
  const mistakes = [
    ...mistakesOf(() => loadConfiguration({ webapi, readcapFile: "readcap" }, {}, directory)),
    ...mistakesOf(() => loadConfiguration({ webapi }, { TAHOE_APT_READCAP: "hunter2" }, directory)),
    ...mistakesOf(() => loadConfiguration({ webapi: [`http://127.0.0.1:3456/uri/${readCap}`] }, {}, directory)),
  ];
  expect(mistakes.length).toBeGreaterThanOrEqual(3);
  expect(mistakes.join("\n")).not.toContain("hunter2");
  expect(mistakes.join("\n")).not.toContain(readCap);
});

test("a secret that others may read and a weak token cause warnings", () => {
  const directory = aDirectory({ readcap: readCap, token: "short" });
  chmodSync(join(directory, "token"), 0o644);
  const flags = { webapi: ["http://127.0.0.1:3456"], readcapFile: "readcap", pingTokenFile: "token" };
  const { warnings } = loadConfiguration(flags, {}, directory);
  expect(warnings).toEqual([expect.stringContaining("chmod 600"), expect.stringContaining("guessed")]);
});

test.each([
  ["127.0.0.1:0", undefined, false],
  ["[::1]:8380", undefined, false],
  ["localhost:8380", undefined, false],
  ["0.0.0.0:8380", undefined, true],
  ["[2001:db8::1]:8380", undefined, true],
  ["apt.example.org:80", undefined, true],
  ["0.0.0.0:8380", "https://apt.example.org/", false],
])("listening on %s with public_url %s causes a warning: %s", (listen, publicUrl, isWarned) => {
  const configuration = loadConfiguration({ folder: ".", listen, publicUrl }, {}, aDirectory({}));
  const warning = `public_url: is missing, although listen = "${listen.replaceAll(/[[\]]/g, "")}" is not only for this`;
  expect(configuration.warnings).toEqual(isWarned ? [expect.stringContaining(warning)] : []);
  expect(configuration.publicUrl).toBe(publicUrl?.replace(/\/$/, ""));
});

/** A configuration with secrets of every kind that are passed as credentials. */
const withCredentials = `
metrics_token_file = "credential:metrics.token"
[[repository]]
name = "debian"
webapi = ["http://127.0.0.1:3456"]
readcap_file = "credential:debian.readcap"
publish_bundle_file = "credential:indices.bundle"
builders_file = "credential:builders.toml"
[[repository.builder]]
name = "alice"
token_file = "credential:alice.token"
directory = "dists/sid/main/binary-amd64/alice"
[[repository.reader]]
name = "carol"
password_file = "credential:carol.password"
`;

const credentials = {
  "metrics.token": token,
  "debian.readcap": readCap,
  "indices.bundle": "read later",
  "builders.toml":
    '[[builder]]\nname = "bob"\ntoken_file = "credential:bob.token"\ndirectory = "dists/sid/main/source/bob"\n',
  "alice.token": token,
  "bob.token": token,
  "carol.password": token,
};

/** The same files as systemd names those of a directory in LoadCredential=tahoe-apt:DIRECTORY. */
const prefixed = Object.fromEntries(Object.entries(credentials).map(([name, text]) => [`tahoe-apt_${name}`, text]));

test.each([
  ["one by one", credentials],
  ["as a directory", prefixed],
])("each secret can be a credential that the service manager passes, %s", (_how, files) => {
  const directory = aDirectory({ "c.toml": withCredentials });
  const passed = aDirectory(files);
  // As systemd 252 and later passes them.
  for (const name of Object.keys(files)) chmodSync(join(passed, name), 0o440);
  const configuration = loadConfiguration({ config: "c.toml" }, { CREDENTIALS_DIRECTORY: passed }, directory);
  const [repository] = configuration.repositories;
  expect(configuration.metricsToken?.reveal()).toBe(token);
  expect(repository?.builders(() => {}).map((builder) => [builder.name, builder.token.reveal()])).toEqual([
    ["alice", token],
    ["bob", token],
  ]);
  expect(repository?.publishBundleFile).toBe(join(passed, Object.keys(files)[2] ?? ""));
  expect(configuration.warnings).toEqual([]);
});

test("in a terminal, credentials are the files in the directory credentials beside the configuration", () => {
  const directory = aDirectory({ "c.toml": withCredentials });
  mkdirSync(join(directory, "credentials"));
  for (const [name, text] of Object.entries(credentials)) writeFileSync(join(directory, "credentials", name), text);
  expect(loadConfiguration({ config: "c.toml" }, {}, directory).metricsToken?.reveal()).toBe(token);
});

test("a missing credential is a mistake that says what the unit needs", () => {
  const directory = aDirectory({ "c.toml": withCredentials });
  const { "debian.readcap": _, ...others } = credentials;
  const passed = { CREDENTIALS_DIRECTORY: aDirectory(others) };
  expect(mistakesOf(() => loadConfiguration({ config: "c.toml" }, passed, directory))).toEqual([
    expect.stringMatching(
      /^repository\[0\]\.readcap_file: credential:debian\.readcap: .*LoadCredential=debian\.readcap:FILE/,
    ),
  ]);
  expect(mistakesOf(() => loadConfiguration({ config: "c.toml" }, {}, directory))).toContainEqual(
    expect.stringMatching(/readcap_file: .*CREDENTIALS_DIRECTORY is not set, and there is no .*credentials\/debian/),
  );
});

test.each(["", "a/b", "..", "/etc/shadow", "a b"])("credential:%s is not the name of a credential", (name) => {
  const directory = aDirectory({ "c.toml": withCredentials.replace(":metrics.token", `:${name}`) });
  const passed = { CREDENTIALS_DIRECTORY: aDirectory(credentials) };
  expect(mistakesOf(() => loadConfiguration({ config: "c.toml" }, passed, directory))).toEqual([
    expect.stringMatching(/^metrics_token_file: "credential:.*" is not credential:NAME$/),
  ]);
});

test("a write cap is rejected, because it is more authority than a server needs", () => {
  const directory = aDirectory({ readcap: readCap.replace("-RO", "") });
  const flags = { webapi: ["http://127.0.0.1:3456"], readcapFile: "readcap" };
  expect(mistakesOf(() => loadConfiguration(flags, {}, directory))).toEqual([
    expect.stringMatching(/^--readcap-file: this is a write cap/),
  ]);
});

test("a file that is not TOML is rejected with the line, without quoting it", () => {
  const directory = aDirectory({ "c.toml": 'listen = "x"\nhunter2 hunter2\n' });
  const mistakes = mistakesOf(() => loadConfiguration({ config: "c.toml" }, {}, directory));
  expect(mistakes).toEqual([expect.stringMatching(/c\.toml: line 2 is not valid TOML: /)]);
  expect(mistakes.join()).not.toContain("hunter2");
});

test("with a configuration file, only the address and the state directory may be given as flags", () => {
  const directory = aDirectory({ "c.toml": good, readcap: readCap, token });
  const { listen } = loadConfiguration({ config: "c.toml", listen: "localhost:1" }, {}, directory);
  expect(listen).toEqual({ host: "localhost", port: 1 });
  const mistakes = mistakesOf(() => loadConfiguration({ config: "c.toml", name: "x", folder: "." }, {}, directory));
  expect(mistakes).toHaveLength(2);
});

test("times that are too long for a timer are mistakes, reported with their place", () => {
  const directory = aDirectory({
    "c.toml": "poll_seconds = 2147484\nscrub_seconds = 2147484\ngrace_period_seconds = 2147484\n",
  });
  const mistakes = mistakesOf(() => loadConfiguration({ config: "c.toml" }, {}, directory)).join("\n");
  for (const key of ["poll_seconds", "scrub_seconds", "grace_period_seconds"]) expect(mistakes).toContain(`${key}: `);
});

test("overrides are in the table of a repository, and an invalid one is a mistake with its place", () => {
  const table = (set: string) =>
    `${good}\n[[repository.override]]\npackages = "hello=2.0"\nsuite = "sid"\nset = ${set}\n`;
  const load = (set: string) =>
    loadConfiguration({ config: "c.toml" }, {}, aDirectory({ "c.toml": table(set), readcap: readCap, token }));
  expect(load('{ Section = "libs" }').repositories.at(-1)?.overrides).toEqual([
    { packages: "hello=2.0", suite: "sid", set: { Section: "libs" } },
  ]);
  expect(mistakesOf(() => load('{ Version = "3" }'))).toEqual([
    expect.stringMatching(/^repository\[\d\]\.override\[0\]: .*Version cannot be overridden/),
  ]);
});

const withLimits = (limits: string): string => `${good}\n${limits}\n`;
const limitsOf = (limits: string) =>
  loadConfiguration({ config: "c.toml" }, {}, aDirectory({ "c.toml": withLimits(limits), readcap: readCap, token }));

test("times in the limits are in seconds, also fractions; the earlier keys in ms work and cause a warning", () => {
  const inSeconds = limitsOf("[limits.webapi]\nfirst_byte_timeout_seconds = 2.5\n[limits.http]\nmax_wait_seconds = 60");
  expect(inSeconds.limits.webapi.firstByteTimeoutMs).toBe(2500);
  expect(inSeconds.limits.http.maxWaitSeconds).toBe(60);
  expect(inSeconds.warnings).toEqual([]);
  const inMs = limitsOf("[limits.webapi]\nfirst_byte_timeout_ms = 2500");
  expect(inMs.limits.webapi.firstByteTimeoutMs).toBe(2500);
  expect(inMs.warnings).toEqual([
    "limits.webapi.first_byte_timeout_ms: is now written first_byte_timeout_seconds, in seconds",
  ]);
});

test("a time in the limits that is written twice or is too long for a timer is a mistake", () => {
  const mistake = (limits: string) => mistakesOf(() => limitsOf(limits));
  const twice = mistake("[limits.webapi]\nfirst_byte_timeout_ms = 2500\nfirst_byte_timeout_seconds = 2.5");
  expect(twice).toEqual([expect.stringContaining("limits.webapi.first_byte_timeout_ms: conflicts with")]);
  for (const [stage, key] of [
    ["webapi", "first_byte_timeout_ms = 3000000000"],
    ["webapi", "first_byte_timeout_seconds = 3000000"],
    ["webapi", "first_byte_timeout_seconds = 0"],
    ["tree", "look_timeout_seconds = 1e9"],
    ["http", "first_byte_timeout_ms = 3000000000"],
    ["http", "max_wait_seconds = 3000000"],
  ] as const) {
    const name = `limits.${stage}.${key.split(" ")[0]}: `;
    expect(mistake(`[limits.${stage}]\n${key}`)).toEqual([expect.stringContaining(name)]);
  }
});

test("workers are refused together with a cluster, in the file and as a flag, and zero workers are not", () => {
  const cluster = `${good}\n[cluster]\nurl = "redis://127.0.0.1"\nname = "apt"\n`;
  const load = (top: string, flags: { readonly workers?: string } = {}) => {
    const files = { "c.toml": `${top}\n${cluster}`, readcap: readCap, token };
    return loadConfiguration({ config: "c.toml", ...flags }, {}, aDirectory(files));
  };
  const conflict = [expect.stringContaining("workers: conflicts with [cluster]")];
  expect(mistakesOf(() => load("workers = 2"))).toEqual(conflict);
  expect(mistakesOf(() => load("", { workers: "2" }))).toEqual(conflict);
  expect(load("workers = 0").workers).toBe(0);
});
