// `tahoe-apt owner list`, and a running server that uses a changed builders file at once.
import { mkdir, mkdtemp, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { parseRepositoryName, parseTreePath } from "../../src/base/names.ts";
import { OwnerFiles } from "../../src/commands/shared/owner-files.ts";
import { WriteCap } from "../../src/storage/tahoe/caps.ts";
import { CommandLine } from "../support/command-line.ts";
import { aDeb } from "../support/debs.ts";
import { aSigningKey } from "../support/signing-key.ts";

const amd64 = "dists/sid/main/binary-amd64";

let work: string;

beforeEach(async () => {
  work = await mkdtemp(join(tmpdir(), "owner-"));
  onTestFinished(() => rm(work, { recursive: true, force: true }));
  await writeFile(join(work, "token"), "a-token-for-this-test\n", { mode: 0o600 });
  // Generating a key takes long on a busy machine.
  await writeFile(join(work, "key.asc"), (await aSigningKey()).reveal(), { mode: 0o600 });
  await put(`${amd64}/alice/hello.deb`, "hello", "1", 1_700_000_000);
  await put(`${amd64}/bob/hello.deb`, "hello", "2", 1_700_000_100);
  await put(`${amd64}/bob/world.deb`, "world", "1", 1_700_000_100);
});

async function put(path: string, name: string, version: string, atSeconds: number): Promise<void> {
  const target = join(work, "tree", path);
  await mkdir(dirname(target), { recursive: true });
  await writeFile(target, await aDeb({ package: name, version, architecture: "amd64" }));
  await utimes(target, atSeconds, atSeconds);
}

const configure = (settings: string) =>
  writeFile(
    join(work, "tahoe-apt.toml"),
    `listen = "127.0.0.1:0"
state = "state"
[[repository]]
name = "debian"
folder = "tree"
signing_key_file = "key.asc"
ping_token_file = "token"
builders_file = "builders.toml"
${settings}`,
  );

const lists = (packages: Readonly<Record<string, readonly string[]>>) =>
  writeFile(
    join(work, "builders.toml"),
    ["alice", "bob"]
      .map((name) => {
        const list = packages[name] ? `packages = ${JSON.stringify(packages[name])}` : "";
        return `[[builder]]\nname = "${name}"\ntoken_file = "token"\ndirectory = "${amd64}/${name}"\n${list}\n`;
      })
      .join(""),
  );

async function run(...args: readonly string[]): Promise<readonly [code: number | null, output: string]> {
  const command = new CommandLine(["owner", ...args, "--dir", work]);
  const code = await command.ends();
  return [code, command.output];
}

test("owner list shows the owner of each name, the rule, the builders that publish it, and the rejects", async () => {
  await configure('package_owners = "first"\n[repository.suite.trixie]\npackage_owners = "any"');
  await lists({ bob: ["*", "world"] });
  expect(await run("list")).toEqual([
    0,
    [
      "debian: package_owners is first, any in trixie",
      "bob may publish *, world",
      "sid hello belongs to alice (published first); published by alice",
      `  rejected: ${amd64}/bob/hello.deb`,
      "sid world belongs to bob (by its list); published by bob\n",
    ].join("\n"),
  ]);
  const [, json] = await run("list", "--json", "--suite", "sid", "h*");
  expect(
    json
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as unknown),
  ).toEqual([
    {
      repository: "debian",
      suite: "sid",
      package: "hello",
      owners: ["alice"],
      by: "first",
      publishers: ["alice"],
      rejected: [
        {
          builder: "bob",
          path: `${amd64}/bob/hello.deb`,
          reason:
            `hello belongs to alice, who linked it first (${amd64}/alice/hello.deb); the operator can give it to bob ` +
            "by: tahoe-apt owner move hello bob",
        },
      ],
    },
  ]);
});

test("without owners, the list shows who publishes each name", async () => {
  await configure("");
  await lists({});
  const [code, output] = await run("list");
  expect([code, output.split("\n")[1]]).toEqual([0, "sid hello has no single owner; published by alice, bob"]);
});

test.each([
  [["list", "--suite", "nope"], "there is no suite nope"],
  [["list", "--repository", "nope"], "has no repository nope"],
  [["move", "hel*", "bob"], "only one name can be moved at a time"],
])("%j is rejected with 2", async (args, message) => {
  await configure("");
  await lists({});
  const [code, output] = await run(...args);
  expect(output).toContain(message);
  expect(code).toBe(2);
});

test("a directory without an owner's files is reported as such", async () => {
  await configure("");
  await lists({});
  const [code, output] = await run("move", "hello", "bob");
  expect(output).toContain("contains no master.bundle");
  expect(code).toBe(1);
});

test("a name that the new owner's own list excludes is rejected with 2, and no list changes", async () => {
  const directory = join(work, "owned");
  await mkdir(directory, { recursive: true });
  const files = new OwnerFiles(directory, () => {});
  const cap = new WriteCap(`URI:DIR2:${"a".repeat(26)}:${"b".repeat(52)}`);
  const settings = { name: parseRepositoryName("debian"), gateways: ["http://127.0.0.1:1"], listen: "127.0.0.1:8380" };
  const master = await files.openMaster({ ...settings, publicUrl: undefined }, async () => cap);
  await files.writeBuilder("bob", master, [{ path: parseTreePath(`${amd64}/bob`), cap }], ["*", "!hel*"]);
  const before = await readFile(join(directory, "builders.toml"), "utf8");
  const command = new CommandLine(["owner", "move", "hello", "bob", "--dir", directory]);
  expect(await command.ends()).toBe(2);
  expect(command.output).toContain('NAME: the list of bob has "!hel*", which excludes hello');
  expect(await readFile(join(directory, "builders.toml"), "utf8")).toBe(before);
});

/** A server of the tree. @param pinged the path that its `ping` announces, with a leading slash */
async function serve(pinged: string) {
  const server = new CommandLine(["serve", "--config", join(work, "tahoe-apt.toml")]);
  onTestFinished(async () => void (await server.stop("SIGKILL")));
  const url = await server.waitForOutput(/"url":"(http:[^"]+\/debian)\/"/);
  const ping = async () => {
    const headers = { authorization: "Bearer a-token-for-this-test" };
    const response = await fetch(url.replace(/\/debian$/, `/-/ping/debian${pinged}?wait=30`), {
      method: "POST",
      headers,
    });
    expect(response.status).toBe(200);
    return (await response.json()) as { readonly rejected: readonly { readonly code: string }[] };
  };
  return { server, url, ping };
}

test("a running server uses a changed list at its next refresh, and its page shows the owner of a name", async () => {
  await configure("");
  await lists({});
  const { url, ping } = await serve(`/${amd64}/bob`);
  const versions = async () =>
    [...(await (await fetch(`${url}/${amd64}/Packages`)).text()).matchAll(/^Package: (.*)\nVersion: (.*)$/gm)]
      .map(([, name, version]) => `${name} ${version}`)
      .toSorted();
  expect((await ping()).rejected).toEqual([]);
  expect(await versions()).toEqual(["hello 1", "hello 2", "world 1"]);
  await lists({ alice: ["hello"] });
  expect((await ping()).rejected).toMatchObject([{ code: "not-owner" }]);
  expect(await versions()).toEqual(["hello 1", "world 1"]);
  expect(await (await fetch(`${url}/-/rejects`)).text()).toContain("hello belongs to alice");
});

test("a running server reports the first owner, even if the tree alone would give another one", async () => {
  await configure('package_owners = "first"');
  await lists({});
  const { server, ping } = await serve("");
  await ping();
  await rm(join(work, "tree", amd64, "alice/hello.deb"));
  await ping();
  await put(`${amd64}/alice/hello.deb`, "hello", "1", 1_700_000_000);
  const before = await run("list", "hello");
  expect(before[1]).toContain("sid hello belongs to bob (published first); published by bob");
  await server.stop();
  expect((await run("list", "hello"))[1]).toContain("sid hello belongs to alice (published first); published by alice");
});
