// Owners of names, on a real grid with real apt: another builder's higher version of an owned name reaches no client,
// and put, page and list name the owner, until the tree's owner moves the name.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fetch from "node-fetch";
import { afterAll, beforeAll, expect, inject, onTestFinished, test } from "vitest";
import { AptRoot } from "../support/apt.ts";
import type { CommandResult } from "../support/command-line.ts";
import { outputOf, runCommand } from "../support/command-line.ts";
import type { DebRecipe } from "../support/debs.ts";
import { aDeb, aDsc } from "../support/debs.ts";
import { freePort, ServerUnderTest } from "../support/server.ts";

const work = mkdtempSync(join(tmpdir(), "tahoe-apt-owners-"));
const directory = join(work, "debian");
let server: ServerUnderTest;

const run = async (...args: readonly string[]): Promise<CommandResult> => await runCommand(args, { cwd: work });
const succeed = async (...args: readonly string[]): Promise<string> => await outputOf(args, { cwd: work });

async function put(
  who: string,
  recipe: DebRecipe & { readonly package: string },
  suite = "sid",
): Promise<CommandResult> {
  const file = join(work, `${recipe.package}_${recipe.version}_amd64.deb`);
  writeFileSync(file, await aDeb({ architecture: "amd64", ...recipe }));
  return await run("put", "--bundle", join(directory, "builders", `${who}.bundle`), "--suite", suite, file);
}

/** The version of each package that apt would install. */
async function candidates(suite: string, ...names: readonly string[]): Promise<readonly (string | undefined)[]> {
  const publicKey = await (await fetch(`${server.url}/debian/key.asc`)).text();
  const machine = new AptRoot({ source: { url: `${server.url}/debian`, suite, publicKey } });
  onTestFinished(() => machine.close());
  await machine.update();
  const known: (string | undefined)[] = [];
  for (const name of names) known.push(await machine.candidate(name));
  return known;
}

const page = async (): Promise<string> => await (await fetch(`${server.url}/debian/-/rejects`)).text();

beforeAll(async () => {
  const port = await freePort();
  const init = `init ${directory} --webapi ${inject("webapiUrl")} --listen 127.0.0.1:${port} --suite sid trixie`;
  await succeed(...`${init} --builder alice bob`.split(" "));
  const configuration = join(directory, "tahoe-apt.toml");
  writeFileSync(
    configuration,
    `${readFileSync(configuration, "utf8")}\n[repository.suite.trixie]\npackage_owners = "first"\n`,
  );
  server = await ServerUnderTest.start({ flags: ["--config", configuration], port });
  await server.ready();
});

afterAll(async () => {
  await server?.end();
  rmSync(work, { recursive: true, force: true });
});

test("on a running server, a name in a builder's list cannot be published by others, until it is moved", async () => {
  expect((await put("alice", { package: "hello", version: "1.0-1" })).exitCode).toBe(0);
  await succeed("builder", "add", "alice", "--dir", directory, "--packages", "hello", "libhello*");
  const refused = await put("bob", { package: "hello", version: "2.0-1" });
  expect(refused.output).toContain("hello belongs to alice");
  expect(refused.output).toContain("tahoe-apt owner move hello bob");
  expect(refused.exitCode).toBe(3);
  // The owner of hello may not publish other owners' names through it.
  expect((await put("bob", { package: "tool", version: "1" })).exitCode).toBe(0);
  const takeover = await put("alice", { package: "tool", version: "9", fields: { Source: "hello" } });
  expect([takeover.exitCode, takeover.output]).toEqual([3, expect.stringContaining("tool is published by bob")]);
  expect(await put("alice", { package: "hello-doc", version: "1", fields: { Source: "hello" } })).toMatchObject({
    exitCode: 0,
  });
  expect(await candidates("sid", "hello", "tool", "hello-doc")).toEqual(["1.0-1", "1", "1"]);
  expect(await page()).toContain("hello belongs to alice");
  const listed = await succeed("owner", "list", "--dir", directory, "--suite", "sid");
  expect(listed).toContain("alice may publish hello, libhello*");
  expect(listed).toMatch(
    /sid hello belongs to alice \(by its list\); published by alice\n {2}rejected: dists\/\S+\/bob/,
  );

  const moved = await succeed("owner", "move", "hello", "bob", "--dir", directory);
  expect(moved).toContain("alice may publish libhello*\nbob may publish *, hello\nhello belongs to bob.");
  expect(moved).not.toContain("has not noticed the change yet");
  expect(await candidates("sid", "hello")).toEqual(["2.0-1"]);
  expect(await page()).toContain("hello belongs to bob");
});

test('with the rule "first", the first builder owns the sources and binaries of a name, and another\'s are rejected', async () => {
  const bundle = join(directory, "builders/alice.bundle");
  await succeed("builder", "add", "alice", "--dir", directory, "--packages", "*");
  const { files } = aDsc({ source: "greet", version: "1.0-1" });
  const paths = [...files].map(([name, bytes]) => {
    writeFileSync(join(work, name), bytes);
    return join(work, name);
  });
  await succeed("put", "--bundle", bundle, "--suite", "trixie", ...paths);
  expect((await put("alice", { package: "greet", version: "1.0-1" }, "trixie")).exitCode).toBe(0);
  const refused = await put("bob", { package: "greet", version: "9" }, "trixie");
  expect([refused.exitCode, refused.output]).toEqual([
    3,
    expect.stringContaining("greet belongs to alice, who linked it first"),
  ]);
  // In another suite the name has no owner yet.
  expect((await put("bob", { package: "greet", version: "9" }, "sid")).exitCode).toBe(0);
  expect(await candidates("trixie", "greet")).toEqual(["1.0-1"]);
  expect(await candidates("sid", "greet")).toEqual(["9"]);
});

test("a list alone gives a builder no directory, and a place in it gives the named ones", async () => {
  const directoriesOf = () =>
    [...readFileSync(join(directory, "builders/dora.bundle"), "utf8").matchAll(/^path = "(.*)"$/gm)].map(
      ([, path]) => path,
    );
  const places = ["--suite", "sid", "--architecture", "amd64", "--no-source"];
  await succeed("builder", "add", "dora", "--dir", directory, ...places);
  const before = directoriesOf();
  expect(before).toEqual(["dists/sid/main/binary-all/dora", "dists/sid/main/binary-amd64/dora"]);
  const output = await succeed("builder", "add", "dora", "--dir", directory, "--packages", "dora*");
  expect(output).toContain("dora has 2 directories");
  expect(output).toContain("dora may publish dora*");
  expect(directoriesOf()).toEqual(before);
  await succeed("builder", "add", "dora", "--dir", directory, "--suite", "trixie", "--packages", "dora*");
  expect(directoriesOf()).toEqual([...before, ...directoriesOf().filter((path) => path?.startsWith("dists/trixie/"))]);
  expect(directoriesOf().length).toBeGreaterThan(before.length);
});

test("a version that the server rejects does not make prune remove any listed one", async () => {
  await succeed("builder", "add", "erin", "--dir", directory, "--suite", "sid", "--packages", "erin");
  for (const version of ["1", "2"]) expect((await put("erin", { package: "erin", version })).exitCode).toBe(0);
  const foreign = await put("bob", { package: "erin", version: "99" });
  expect(foreign.output).toContain("erin belongs to erin");
  const prune = ["prune", "--bundle", join(directory, "master.bundle"), "--suite", "sid", "--keep", "1", "erin"];
  expect(await succeed(...prune)).toContain("- erin 1 amd64");
  expect(await succeed(...prune)).toContain("nothing to do");
  expect(await candidates("sid", "erin")).toEqual(["2"]);

  // If the server does not answer, nothing is removed.
  const unreachableBundle = join(work, "deaf.bundle");
  const bundle = readFileSync(join(directory, "master.bundle"), "utf8");
  writeFileSync(unreachableBundle, bundle.replace(/(?<=ping_url = "http:\/\/)[^/]+/, "127.0.0.1:1"), { mode: 0o600 });
  const result = await run("prune", "--bundle", unreachableBundle, "--suite", "sid", "--keep", "1", "--timeout", "1");
  expect([result.exitCode, result.output]).toEqual([
    1,
    expect.stringContaining("did not report in time which packages it rejects"),
  ]);
});
