// Uploads that `tahoe-apt put` rejects before it changes anything, and its exit codes for other problems.
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import fetch from "node-fetch";
import { afterAll, beforeAll, expect, inject, onTestFinished, test } from "vitest";
import { Secret } from "../../src/base/secret.ts";
import { parseWriteCap } from "../../src/storage/tahoe/caps.ts";
import { aDeb, aDsc } from "../support/debs.ts";
import { InitializedTree, namedDeb } from "../support/initialized-tree.ts";
import { ServerUnderTest } from "../support/server.ts";

const amd64 = "sid/main/binary-amd64";
let tree: InitializedTree;

beforeAll(async () => {
  tree = await InitializedTree.plant(inject("webapiUrl"));
});
afterAll(() => tree?.close());

test("one bad file among good ones stops the upload before any change, and every problem is named", async () => {
  const before = await tree.allNames();
  const { dsc, files: sources } = aDsc({ source: "half", version: "1.0-1" });
  const [tarball = ""] = [...sources.keys()].filter((name) => name.endsWith(".debian.tar.xz"));
  const complete = await aDeb({ package: "cut" });
  const files = new Map<string, Uint8Array | string>([
    ...[...sources].filter(([name]) => name !== tarball),
    await namedDeb({ package: "good" }),
    await namedDeb({ package: "stranger", architecture: "riscv64" }),
    await namedDeb({ package: "unreadable", fields: { Depends: "good, hello (= )" } }),
    ["cut_1.0-1_all.deb", complete.subarray(0, complete.length - 20)],
    ["text_1.0-1_all.deb", "this is no package\n"],
    ["notes.txt", "of no use"],
  ]);
  const paths = [...tree.write(files), "/nowhere/absent_1_all.deb"].filter((path) => !path.endsWith(".tar.gz"));
  const { exitCode, status, problems } = await tree.putJson(paths);
  expect([exitCode, status]).toEqual([3, "refused"]);
  expect(Object.fromEntries(problems.map(({ file, reason }) => [basename(file), reason]))).toEqual({
    "absent_1_all.deb": "does not exist",
    "cut_1.0-1_all.deb": expect.stringContaining("ends"),
    [dsc]: `${tarball} is neither in its directory nor in dists/sid/main/source/alice`,
    "notes.txt": "is not a package, and no uploaded .dsc lists it",
    "stranger_1.0-1_riscv64.deb": expect.stringContaining("a package for riscv64 does not fit into"),
    "text_1.0-1_all.deb": expect.stringContaining("ar archive"),
    "unreadable_1.0-1_amd64.deb": expect.stringContaining('apt cannot read its Depends, "hello (= )" at character 7: '),
  });
  expect(await tree.allNames()).toEqual(before);
});

test("a file that the server would reject because of a limit is rejected before the upload, with the same key", async () => {
  const before = await tree.allNames();
  const files = new Map([
    await namedDeb({ package: "long", fields: { "X-Long": "x".repeat(300_000) } }),
    await namedDeb({ package: "bomb", files: { "./zeros": Buffer.alloc(40 * 2 ** 20) } }),
  ]);
  const { exitCode, status, problems } = await tree.putJson(tree.write(files));
  expect([exitCode, status]).toEqual([3, "refused"]);
  expect(Object.fromEntries(problems.map(({ file, reason }) => [basename(file), reason]))).toEqual({
    "long_1.0-1_amd64.deb": "the size of its control is beyond max_stanza_bytes = 262144",
    "bomb_1.0-1_amd64.deb": "the decompressed size of a member is beyond max_data_ratio = 256",
  });
  expect(await tree.allNames()).toEqual(before);
});

test("an upload without files is rejected", async () => {
  const [, changes = ""] = tree.write(
    new Map([
      ["notes.txt", "four"],
      [
        "it.changes",
        `Format: 1.8\nDistribution: sid\nFiles:\n ${createHash("md5").update("four").digest("hex")} 4 misc extra notes.txt\n`,
      ],
    ]),
  );
  expect(await tree.putJson([changes])).toMatchObject({
    exitCode: 3,
    problems: [{ file: changes, reason: "lists no file that APT uses" }],
  });
});

test("other bytes under an existing name are rejected, with and without entry metadata, unless --replace is given", async () => {
  const [name, bytes] = await namedDeb({ package: "taken" });
  const [, others] = await namedDeb({ package: "taken", fields: { Description: "another one" } });
  await tree.put(tree.write(new Map([[name, bytes]])));
  const other = tree.write(new Map([[name, others]]));
  const refused = await tree.putJson(other);
  expect(refused.problems).toEqual([
    { file: other[0], reason: expect.stringContaining("already exists with different bytes") },
  ]);
  // A plain upload stores no metadata.
  const cap = tree.bundle.directories.find(({ path }) => path.includes(amd64))!.cap.reveal();
  const sameLength = Buffer.from(others);
  sameLength.write("another 1", sameLength.length - 20);
  await fetch(`${inject("webapiUrl")}/uri/${encodeURIComponent(cap)}/${name}`, { method: "PUT", body: sameLength });
  expect((await tree.putJson(other)).status).toBe("refused");
  expect(await tree.putJson(other, "--replace")).toMatchObject({ exitCode: 0, status: "live" });
  const machine = await tree.apt();
  onTestFinished(() => machine.close());
  await machine.update();
  expect(await machine.download("taken")).toEqual(others);
});

test("a file that the server rejects after it was linked is reported, with exit code 3", async () => {
  const config = join(tree.work, "strict.toml");
  writeFileSync(join(tree.work, "strict.token"), "a-token-for-the-strict-one", { mode: 0o600 });
  writeFileSync(
    config,
    `state = "strict"\n[limits.inspection]\nmax_stanza_bytes = 300\n[[repository]]\nname = "debian"\n` +
      `webapi = "${inject("webapiUrl")}"\nreadcap_file = "readcap"\nping_token_file = "strict.token"\n`,
  );
  const strict = await ServerUnderTest.start({ flags: ["--config", config] });
  onTestFinished(async () => void (await strict.end()));
  await strict.ready();
  const ping = { url: `${strict.url}/-/ping/debian`, token: new Secret("a-token-for-the-strict-one") };
  const bundle = tree.writeBundle("strict.bundle", { ...tree.bundle, ping });
  const long = await namedDeb({ package: "long", fields: { "X-Long": "x".repeat(400) } });
  const { exitCode, status, packages } = await tree.putJson(tree.write(new Map([long])), "--bundle", bundle);
  expect([exitCode, status]).toEqual([3, "rejected"]);
  expect(packages).toMatchObject([
    { name: "long", state: "rejected", reason: expect.stringContaining("max_stanza_bytes") },
  ]);
});

/** A .changes of one package, beside it. */
async function aChanges(name: string, distribution: string): Promise<string> {
  const [deb, bytes] = await namedDeb({ package: name });
  const digest = createHash("md5").update(bytes).digest("hex");
  const text = `Format: 1.8\nDistribution: ${distribution}\nFiles:\n ${digest} ${bytes.length} misc optional ${deb}\n`;
  const [, changes = ""] = tree.write(
    new Map<string, Uint8Array | string>([
      [deb, bytes],
      ["it.changes", text],
    ]),
  );
  return changes;
}

test.each(["UNRELEASED", "bookworm", "sid trixie", "SID", ""])(
  "a .changes for %j, which is no suite of the bundle, is rejected with that name, unless --suite overrides it",
  async (distribution) => {
    const name = `for${distribution.replaceAll(/\W/g, "-").toLowerCase()}${distribution.length}`;
    const changes = await aChanges(name, distribution);
    const before = await tree.allNames();
    const named = distribution.replace("sid ", "") || "no Distribution";
    expect(await tree.putJson([changes])).toMatchObject({
      exitCode: 3,
      status: "refused",
      problems: [{ file: changes, reason: expect.stringContaining(named) }],
    });
    expect(await tree.allNames()).toEqual(before);
    expect(await tree.putJson([changes], "--suite", "sid")).toMatchObject({ exitCode: 0, status: "live" });
  },
);

test("a .changes for a suite's codename is uploaded to that suite", async () => {
  const config = join(tree.work, "codename.toml");
  writeFileSync(join(tree.work, "codename.token"), "a-token-for-the-codename", { mode: 0o600 });
  writeFileSync(
    config,
    `state = "codename"\n[[repository]]\nname = "debian"\nwebapi = "${inject("webapiUrl")}"\n` +
      `readcap_file = "readcap"\nping_token_file = "codename.token"\n[repository.suite.sid]\ncodename = "unstable"\n`,
  );
  const server = await ServerUnderTest.start({ flags: ["--config", config] });
  onTestFinished(async () => void (await server.end()));
  await server.ready();
  const ping = { url: `${server.url}/-/ping/debian`, token: new Secret("a-token-for-the-codename") };
  const bundle = tree.writeBundle("codename.bundle", { ...tree.bundle, ping });
  const changes = await aChanges("by-codename", "unstable");
  expect((await tree.putJson([changes])).status).toBe("refused");
  expect(await tree.putJson([changes], "--bundle", bundle)).toMatchObject({
    exitCode: 0,
    packages: [{ name: "by-codename", suite: "sid", state: "live" }],
  });
});

test("an unmatched shell pattern and an invalid write cap are reported in words", async () => {
  expect(await tree.putJson(["*.deb"])).toMatchObject({
    exitCode: 3,
    problems: [{ reason: "no file matches this pattern" }],
  });
  const directories = tree.bundle.directories.map(({ path }) => {
    return { path, cap: parseWriteCap(`URI:DIR2:${"a".repeat(26)}:${"a".repeat(52)}`) };
  });
  const wrong = tree.writeBundle("wrong-caps.bundle", { ...tree.bundle, directories });
  const { exitCode, output } = await tree.put(tree.write(new Map([await namedDeb({ package: "lost" })])), [
    "--bundle",
    wrong,
  ]);
  expect(exitCode).toBe(1);
  expect(output).toMatch(/the cap in the bundle is wrong or incomplete, or too few storage servers are reachable/);
  expect(output).not.toMatch(/status 410|URI:/);
});

test("while the server is unreachable the upload is linked, exit code 4; without a ping, exit code 0; with a wrong token, 1", async () => {
  const away = { url: "http://127.0.0.1:3/-/ping/debian", token: new Secret("x") };
  const wrong = { ...tree.bundle.ping!, token: new Secret("a-token-that-nobody-knows") };
  const cases = [away, undefined, wrong].map((ping, n) => tree.writeBundle(`${n}.bundle`, { ...tree.bundle, ping }));
  const [absent, silent, forbidden] = await Promise.all(
    cases.map(
      async (bundle, n) =>
        await tree.put(tree.write(new Map([await namedDeb({ package: `later${n}` })])), [
          "--bundle",
          bundle,
          "--timeout",
          "1",
        ]),
    ),
  );
  expect([absent!.exitCode, absent!.output]).toEqual([
    4,
    expect.stringContaining("linked: later0 1.0-1 amd64 in sid main: the server did not confirm"),
  ]);
  expect(absent!.output).toContain(`waiting for ${away.url} (connection refused)`);
  const flags = ["--json", "--timeout", "1", "--bundle", join(tree.work, "0.bundle")];
  const jsonResult = await tree.put(tree.write(new Map([await namedDeb({ package: "later3" })])), flags);
  expect(jsonResult.exitCode).toBe(4);
  expect(JSON.parse(jsonResult.printed)).toMatchObject({ status: "linked" });
  expect(jsonResult.output).toContain(`waiting for ${away.url} (connection refused)`);
  expect([silent!.exitCode, silent!.output]).toEqual([
    0,
    expect.stringContaining("the server will notice the change at its next poll"),
  ]);
  expect([forbidden!.exitCode, forbidden!.output]).toEqual([
    1,
    expect.stringMatching(/does not know this bundle's token: .*builders_file \(nothing was changed\)/),
  ]);
  expect(await tree.names(amd64)).not.toContain("later2_1.0-1_amd64.deb");
  expect(await tree.names(amd64)).toEqual(expect.arrayContaining(["later0_1.0-1_amd64.deb", "later1_1.0-1_amd64.deb"]));
});

test("no cap and no token is in its output or arguments, and an invalid bundle is exit code 2 without any of its text", async () => {
  const secrets = [tree.bundle.ping!.token, ...tree.bundle.directories.map(({ cap }) => cap)].map((each) =>
    each.reveal(),
  );
  const { output } = await tree.put(tree.write(new Map([await namedDeb({ package: "quiet" })])), ["--json"]);
  for (const secret of secrets) expect(output).not.toContain(secret);
  writeFileSync(join(tree.work, "broken.bundle"), `${readFileSync(tree.file, "utf8")}\n${secrets[0]}`, { mode: 0o600 });
  const broken = await tree.put(["x.deb"], ["--bundle", join(tree.work, "broken.bundle")]);
  expect(broken.exitCode).toBe(2);
  for (const secret of secrets) expect(broken.output).not.toContain(secret);
});
