// A phased update on a running server, with real apt: kept back, then offered, while the package stays the same.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, inject, onTestFinished, test } from "vitest";
import { CommandLine } from "../support/command-line.ts";
import { aDeb } from "../support/debs.ts";
import { ServedGrid } from "../support/served-grid.ts";

const path = "dists/sid/main/binary-amd64/builder";

const hello = () => aDeb({ package: "hello", version: "2.0", architecture: "amd64" });
const stateOf = (grid: ServedGrid) => join(grid.work, "state");

/** dpkg's status of a machine that has version 1. */
const installed = `Package: hello
Status: install ok installed
Architecture: amd64
Version: 1.0
Maintainer: nobody <nobody@example.org>
Description: nothing

`;

test("phase keeps an update back from a machine until its turn, and override changes what apt shows, at once", async () => {
  const grid = await ServedGrid.start(inject("webapiUrl"));
  onTestFinished(() => grid.end());
  await grid.put(path, new Map([["hello_2.0_amd64.deb", await hello()]]));
  await grid.ping();
  // The machine id alone decides its phase.
  const options = { "APT::Machine-ID": "912e43bd1c1d4ba481f9f8ccab25f9ee" };
  const machine = grid.apt("sid", { installed, options });
  onTestFinished(() => machine.close());
  const upgraded = async () => {
    await machine.update();
    return (await machine.run("apt-get", "-s", "upgrade")).output;
  };
  const run = async (...args: readonly string[]) => {
    const command = new CommandLine([...args, "--state", stateOf(grid)]);
    return [await command.ends(), command.output];
  };
  expect(await upgraded()).toContain("Inst hello [1.0] (2.0 ");

  expect(await run("phase", "hello=2.0", "--percent", "0")).toEqual([
    0,
    "hello=2.0 (all suites) Phased-Update-Percentage=0\n",
  ]);
  expect(await upgraded()).not.toContain("Inst hello");

  expect(await run("phase", "hello=2.0", "--percent", "100")).toEqual([0, "no override is left for hello=2.0\n"]);
  expect(await upgraded()).toContain("Inst hello [1.0] (2.0 ");

  expect((await run("override", "set", "src:hello", "Section=games", "Priority=extra", "--suite", "sid"))[0]).toBe(0);
  await machine.update();
  expect((await machine.run("apt-cache", "show", "hello=2.0")).output).toMatch(/Section: games/);
  expect((await run("override", "list"))[1]).toBe("src:hello sid Section=games Priority=extra\n");
});

test.each([
  [["phase", "hello", "--percent", "101"], 2, /--percent: must be a whole number from 0 to 100/],
  [["phase", "hello"], 2, /--percent: must be a whole number/],
  [["override", "set", "hello", "Section"], 2, /"Section" is not FIELD=VALUE/],
  [["override", "set", "hello", "Version=3"], 1, /Version cannot be overridden/],
  [["override", "set", "hello", "Section=x", "--suite", "sdi"], 2, /no suite sdi; known: sid/],
] as const)("%j ends with %d and says why", async (args, exitCode, expected) => {
  const grid = await ServedGrid.start(inject("webapiUrl"));
  onTestFinished(() => grid.end());
  await grid.put(path, new Map([["hello_2.0_amd64.deb", await hello()]]));
  await grid.ping();
  const command = new CommandLine([...args, "--state", stateOf(grid)]);
  expect(await command.ends()).toBe(exitCode);
  expect(command.output).toMatch(expected);
});

test("an invalid overrides file prevents a start, and the error names the file and the line", async () => {
  const grid = await ServedGrid.start(inject("webapiUrl"));
  onTestFinished(() => grid.end());
  const file = join(stateOf(grid), "repositories/debian/overrides.toml");
  writeFileSync(file, "[[override]]\npackages = 1\n");
  const command = new CommandLine(["override", "set", "hello", "Section=x", "--state", stateOf(grid)]);
  expect(await command.ends()).toBe(1);
  expect(command.output).toMatch(/overrides\.toml: override\.0\.packages: must be a text in quotes/);
});
