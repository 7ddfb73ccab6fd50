// Suites and components with a slash in their names, as apt 2.6 and apt 3 take them.
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import fetch from "node-fetch";
import { expect, inject, onTestFinished, test } from "vitest";
import { rootPath } from "../../src/base/names.ts";
import { AptRoot } from "../support/apt.ts";
import { Apt3 } from "../support/apt3.ts";
import { CommandLine } from "../support/command-line.ts";
import { aDeb } from "../support/debs.ts";
import { namedDeb, PlantedTree } from "../support/planted-tree.ts";
import { ServerUnderTest } from "../support/server.ts";

test("both apts update without a warning from a suite and a component with a slash, and fetch from each its own packages, which can be verified", async () => {
  const work = mkdtempSync(join(tmpdir(), "tahoe-apt-slashes-"));
  const places = {
    base: "bookworm/main",
    symbols: "bookworm/main/debug",
    fix: "bookworm/updates/main",
    other: "bookworm/updates/contrib/extra",
  };
  for (const [name, place] of Object.entries(places)) {
    const file = join(work, "tree/dists", place, `binary-amd64/alice/${name}.deb`);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, await aDeb({ package: name, architecture: "amd64" }));
  }
  const server = await ServerUnderTest.withRepository(work, [
    `folder = ${JSON.stringify(join(work, "tree"))}`,
    '[repository.suite."bookworm/updates"]',
  ]);
  onTestFinished(async () => {
    await server.end();
    rmSync(work, { recursive: true, force: true });
  });
  const url = `${server.url}/debian`;
  const publicKey = await (await fetch(`${url}/key.asc`)).text();
  for (const [suite, components, names] of [
    ["bookworm", ["main", "main/debug"], ["base", "symbols"]],
    ["bookworm/updates", ["main", "contrib/extra"], ["fix", "other"]],
  ] as const) {
    const source = { url, suite, components, publicKey };
    const old = new AptRoot({ source });
    onTestFinished(() => old.close());
    expect(await old.update()).not.toMatch(/^[EWN]:/m);
    expect((await old.packageNames()).toSorted()).toEqual(names);
    for (const name of names)
      expect(await old.download(name)).toEqual(await aDeb({ package: name, architecture: "amd64" }));
    const young = await Apt3.start(source);
    onTestFinished(() => young.close());
    expect(await young.update()).not.toMatch(/^[EWN]:/m);
    const { exitCode, output } = await young.run(`apt-get download ${names.join(" ")}`);
    expect([exitCode, output]).toEqual([0, output]);
  }
  const verify = async (...flags: readonly string[]) => {
    const command = new CommandLine(["verify", ...flags, url], { cwd: work });
    return [await command.ends(), command.output] as const;
  };
  const named = await verify("--folder", "tree", "--suite", "bookworm", "--suite", "bookworm/updates");
  expect(named[0], named[1]).toBe(0);
  const configured = await verify("--config", "tahoe-apt.toml");
  expect(configured[0], configured[1]).toBe(0);
  expect(configured[1]).toContain("bookworm/updates");
  const exported = new CommandLine(["export", "--config", "tahoe-apt.toml", "site"], { cwd: work });
  expect(await exported.ends(), exported.output).toBe(0);
  expect(exported.output).toContain("left out: bookworm/updates has a slash in its name");
  expect(readdirSync(join(work, "site/dists"))).toEqual(["bookworm"]);
  expect((await verify("--folder", "tree"))[0], "whoever does not know it takes updates for a component").toBe(3);
});

test("a suite with a slash is published into its tree as the suite that it is, by a server and by the command", async () => {
  const tree = await PlantedTree.plant(inject("webapiUrl"), ["bookworm/updates/main/binary-amd64"]);
  onTestFinished(() => tree.close());
  await tree.put(tree.write(new Map([await namedDeb({ package: "fix" })])));
  const bundle = tree.writeBundle("root.bundle", {
    name: "root",
    gateways: [inject("webapiUrl")],
    directories: [{ path: rootPath, cap: tree.root }],
    ping: undefined,
  });
  const table = `[[repository]]\nname = "debian"\nwebapi = "${inject("webapiUrl")}"\nreadcap_file = "readcap"\n`;
  const nested = `[repository.suite."bookworm/updates"]\n`;
  const release = async (): Promise<string> => {
    const at = [encodeURIComponent(tree.root.reveal()), "dists/bookworm/updates/Release"].join("/");
    return await (await fetch(`${inject("webapiUrl")}/uri/${at}`)).text();
  };
  writeFileSync(join(tree.work, "server.toml"), `${table}publish_bundle_file = ${JSON.stringify(bundle)}\n${nested}`);
  const flags = ["--config", join(tree.work, "server.toml"), "--state", join(tree.work, "publishing")];
  const server = await ServerUnderTest.start({ flags });
  onTestFinished(async () => void (await server.end()));
  await expect
    .poll(release, { timeout: 60_000, interval: 500 })
    .toMatch(/^Suite: bookworm\/updates\n[\s\S]*Components: main$/m);
  await server.end();
  const command = new CommandLine(["publish", ...flags, "--bundle", bundle]);
  expect(await command.ends(), command.output).toBe(0);
  expect(await release()).toMatch(/^Components: main$/m);
});
