// Suites and components with a slash in their names, with apt 2.6 and apt 3.
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import fetch from "node-fetch";
import { expect, inject, onTestFinished, test } from "vitest";
import { rootPath } from "../../src/base/names.ts";
import { AptRoot } from "../support/apt.ts";
import { Apt3 } from "../support/apt3.ts";
import { CommandLine, outputOf, runCommand } from "../support/command-line.ts";
import { aDeb } from "../support/debs.ts";
import { InitializedTree, namedDeb } from "../support/initialized-tree.ts";
import { plainWebServer } from "../support/plain-web-server.ts";
import { freePort, ServerUnderTest } from "../support/server.ts";
import { buildSourceTree, writeSourceTree } from "../support/source-tree.ts";

test("both apts update without a warning from a suite and a component with a slash, and download the packages of each", async () => {
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
  expect(exported.output).not.toContain("left out");
  expect(
    (await verify("--folder", "tree"))[0],
    "without the suite in the configuration, updates counts as a component",
  ).toBe(3);
});

test("both apts use an exported site of a suite with a slash and of the suite around it, also after changes of either", async () => {
  const work = mkdtempSync(join(tmpdir(), "tahoe-apt-slashes-"));
  onTestFinished(() => rmSync(work, { recursive: true, force: true }));
  const put = async (place: string, name: string) => {
    const file = join(work, "tree/dists", place, `binary-amd64/alice/${name}.deb`);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, await aDeb({ package: name, architecture: "amd64" }));
  };
  writeFileSync(
    join(work, "tahoe-apt.toml"),
    `state = "state"\nkeep_seconds = 1\n[[repository]]\nname = "debian"\nfolder = "tree"\n[repository.suite."bookworm/updates"]\n`,
  );
  const write = async () => {
    const command = new CommandLine(["export", "--config", "tahoe-apt.toml", "site"], { cwd: work });
    expect(await command.ends(), command.output).toBe(0);
    expect(command.output).not.toContain("left out");
  };
  const held = { bookworm: ["base"], "bookworm/updates": ["fix"] };
  await put("bookworm/main", "base");
  await put("bookworm/updates/main", "fix");
  await write();
  const url = await plainWebServer(join(work, "site"));
  const publicKey = readFileSync(join(work, "site/key.asc"), "utf8");
  const clients = Object.keys(held).map((suite) => ({
    suite: suite as keyof typeof held,
    apt: new AptRoot({ source: { url, suite, publicKey } }),
  }));
  const young = await Apt3.start({ url, suite: "bookworm/updates", publicKey });
  onTestFinished(async () => {
    for (const { apt } of clients) apt.close();
    await young.close();
  });
  const read = async () => {
    for (const { suite, apt } of clients) {
      expect(await apt.update()).not.toMatch(/^[EWN]:/m);
      expect((await apt.packageNames()).toSorted()).toEqual(held[suite]);
      for (const name of held[suite])
        expect(await apt.download(name)).toEqual(await aDeb({ package: name, architecture: "amd64" }));
    }
    expect(await young.update()).not.toMatch(/^[EWN]:/m);
    const { exitCode, output } = await young.run(`apt-get download ${held["bookworm/updates"].join(" ")}`);
    expect([exitCode, output]).toEqual([0, output]);
  };
  await read();
  for (const [suite, name] of [
    ["bookworm", "more"],
    ["bookworm", "most"],
    ["bookworm/updates", "next"],
  ] as const) {
    await put(`${suite}/main`, name);
    held[suite].push(name);
    // After keep_seconds, superseded files are deleted.
    await sleep(1500);
    await write();
    await read();
  }
});

test("a suite with a slash is published into its tree as such, by a server and by the command", async () => {
  const tree = await InitializedTree.plant(inject("webapiUrl"), ["bookworm/updates/main/binary-amd64"]);
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

test("builders' commands distinguish a suite with a slash from the suite around it, as init, builder add and suite add do", async () => {
  const work = mkdtempSync(join(tmpdir(), "tahoe-apt-slashes-"));
  onTestFinished(() => rmSync(work, { recursive: true, force: true }));
  const port = await freePort();
  const run = async (...args: readonly string[]) => await outputOf(args, { cwd: work });
  await run(
    ...`init debian --webapi ${inject("webapiUrl")} --listen 127.0.0.1:${port}`.split(" "),
    ..."--suite bookworm bookworm/updates --builder alice".split(" "),
  );
  const server = await ServerUnderTest.start({ flags: ["--config", join(work, "debian/tahoe-apt.toml")], port });
  onTestFinished(async () => void (await server.end()));
  await server.ready();
  const bundle = ["--bundle", "debian/builders/alice.bundle"];
  const master = ["--bundle", "debian/master.bundle"];
  const add = async (name: string, version = "1.0-1") => {
    const [file, bytes] = await namedDeb({ package: name, version });
    writeFileSync(join(work, file), bytes);
    return file;
  };
  expect(await run("put", ...bundle, "--suite", "bookworm", await add("base"))).toContain("in bookworm main");
  for (const version of ["1.0-1", "1.0-2"]) {
    const output = await run("put", ...bundle, "--suite", "bookworm/updates", await add("fix", version));
    expect(output).toContain(`live: fix ${version} amd64 in bookworm/updates main`);
  }
  writeSourceTree(join(work, "built"), { name: "built", version: "1.0", distribution: "bookworm" });
  buildSourceTree(join(work, "built"));
  // A changelog cannot contain it; dpkg-genchanges gets it by -DDistribution.
  const changes = readFileSync(join(work, "built_1.0_amd64.changes"), "utf8");
  expect(changes).toMatch(/^Distribution: bookworm$/m);
  const changed = changes.replace(/^Distribution: .*$/m, "Distribution: bookworm/updates");
  writeFileSync(join(work, "built_1.0_amd64.changes"), changed);
  expect(await run("put", ...bundle, "built_1.0_amd64.changes")).toContain("built 1.0 source in bookworm/updates main");

  const publicKey = await (await fetch(`${server.url}/debian/key.asc`)).text();
  const held = async (suite: string): Promise<readonly string[]> => {
    const apt = new AptRoot({ source: { url: `${server.url}/debian`, suite, publicKey } });
    onTestFinished(() => apt.close());
    expect(await apt.update()).not.toMatch(/^[EWN]:/m);
    return (await apt.packageNames()).toSorted();
  };
  expect([await held("bookworm"), await held("bookworm/updates")]).toEqual([["base"], ["built", "fix"]]);
  const listed = async (...flags: readonly string[]) =>
    (await run("list", ...flags))
      .split("\n")
      .flatMap((line) => /^\w+ \S+ amd64 (\S+ \S+) /.exec(line)?.[0].trim() ?? [])
      .toSorted();
  const inUpdates = ["built 1.0", "fix 1.0-1", "fix 1.0-2"].map((each) => `${each} amd64 bookworm/updates main`);
  for (const flags of [bundle, ["--config", "debian/tahoe-apt.toml"]]) {
    expect(await listed(...flags)).toEqual(["base 1.0-1 amd64 bookworm main", ...inUpdates]);
    expect(await listed(...flags, "--suite", "bookworm")).toEqual(["base 1.0-1 amd64 bookworm main"]);
    expect(await listed(...flags, "--suite", "bookworm/updates")).toEqual(inUpdates);
  }
  const reading = ["--webapi", inject("webapiUrl"), "--readcap-file", "debian/tree.readcap"];
  expect(await listed(...reading, "--suite", "bookworm/updates")).toEqual(inUpdates);
  expect(await listed(...reading, "--suite", "bookworm"), "without the suite in the configuration").toContain(
    "built 1.0 amd64 bookworm updates/main",
  );

  expect(await run("prune", ...bundle, "--suite", "bookworm", "--keep", "1")).toContain("nothing to do");
  expect(await run("prune", ...bundle, "--suite", "bookworm/updates", "--keep", "1")).toMatch(
    /^bookworm\/updates main\/binary-amd64:\n {2}- fix 1\.0-1 amd64$/m,
  );
  await run("promote", ...master, "--from", "bookworm/updates", "--to", "bookworm", "fix");
  await run("promote", ...bundle, "--from", "bookworm", "--to", "bookworm/updates", "base");
  await run("remove", ...bundle, "--suite", "bookworm", "base");
  expect([await held("bookworm"), await held("bookworm/updates")]).toEqual([["fix"], ["base", "built", "fix"]]);

  // One that the server does not know yet.
  expect(await run("suite", "add", "bookworm/backports", "--dir", "debian")).toContain(
    '[repository.suite."bookworm/backports"]',
  );
  await run("builder", "add", "alice", "--dir", "debian", "--suite", "bookworm/backports");
  const refused = await runCommand(["put", ...bundle, "--suite", "bookworm/backports", await add("new")], {
    cwd: work,
  });
  expect(refused.exitCode, refused.output).toBe(3);
  expect(refused.output).toContain('needs [repository.suite."bookworm/backports"]');
  await server.end();
  appendFileSync(join(work, "debian/tahoe-apt.toml"), '\n[repository.suite."bookworm/backports"]\n');
  const again = await ServerUnderTest.start({ flags: ["--config", join(work, "debian/tahoe-apt.toml")], port });
  onTestFinished(async () => void (await again.end()));
  await again.ready();
  expect(await run("put", ...bundle, "--suite", "bookworm/backports", await add("new"))).toContain(
    "live: new 1.0-1 amd64 in bookworm/backports main",
  );
  expect(await held("bookworm/backports")).toEqual(["new"]);
});
