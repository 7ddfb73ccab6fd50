// Long descriptions in Translation-en, as real apt shows them: downloaded once, and matched with their package.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { AptRoot } from "../support/apt.ts";
import { aDeb } from "../support/debs.ts";
import { ServerUnderTest } from "../support/server.ts";

const work = mkdtempSync(join(tmpdir(), "translations-"));
const long = "a package with much to say\n First of all, it greets.\n .\n   Then it takes its leave, with ümlauts.";
let server: ServerUnderTest;
let publicKey = "";
const roots: AptRoot[] = [];

/** An apt with one suite, which requests English descriptions by default. */
function anAptRoot(suite: string, languages = "en"): AptRoot {
  const source = { url: `${server.url}/debian`, suite, publicKey };
  const root = new AptRoot({ source, options: { "Acquire::Languages": languages } });
  roots.push(root);
  return root;
}

async function shown(root: AptRoot): Promise<string> {
  const { output } = await root.run("apt-cache", "show", "hello");
  return output;
}

beforeAll(async () => {
  for (const suite of ["split", "whole"]) {
    const path = join(work, `tree/dists/${suite}/main/binary-amd64/hello_1_amd64.deb`);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, await aDeb({ version: "1", architecture: "amd64", fields: { Description: long } }));
  }
  const configuration = `
    [[repository]]
    name = "debian"
    folder = ${JSON.stringify(join(work, "tree"))}
    translations = true
    [repository.suite.whole]
    translations = false\n`;
  writeFileSync(join(work, "tahoe-apt.toml"), configuration);
  server = await ServerUnderTest.start({
    flags: ["--config", join(work, "tahoe-apt.toml"), "--state", join(work, "state")],
  });
  await server.ready();
  publicKey = await (await fetch(`${server.url}/debian/key.asc`)).text();
});

afterAll(async () => {
  for (const root of roots) root.close();
  await server?.end();
  rmSync(work, { recursive: true });
});

test("apt downloads Translation-en and shows the long description with its package", async () => {
  const root = anAptRoot("split");
  expect(await root.update()).toMatch(/split\/main Translation-en/);
  const stanza = await shown(root);
  expect(stanza).toContain(`Description-en: ${long}\n`);
  expect(stanza).toMatch(/^Description-md5: [0-9a-f]{32}$/m);
  const { output } = await root.run("apt-cache", "search", "takes its leave");
  expect(output).toContain("hello - a package with much to say");
});

test("an apt without languages has the first line", async () => {
  const root = anAptRoot("split", "none");
  expect(await root.update()).not.toContain("Translation");
  const stanza = await shown(root);
  expect(stanza).toContain("Description: a package with much to say\n");
  expect(stanza).not.toContain("First of all");
});

test("a suite without translations offers none, and Packages has the whole description", async () => {
  const root = anAptRoot("whole");
  expect(await root.update()).not.toContain("Translation");
  expect(await shown(root)).toMatch(/^Description(-en)?: a package with much to say\n First of all, it greets.$/m);
});
