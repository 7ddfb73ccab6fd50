// The demo finds tahoe-apt's own packages for one architecture, and says why it cannot install them.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { ownPackages, whyNotHere } from "../../src/local/own-packages.ts";

function aDirectory(...names: readonly string[]): string {
  const directory = mkdtempSync(join(tmpdir(), "own-packages-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  for (const name of names) writeFileSync(join(directory, name), "");
  return directory;
}

const mayRunNothing = async (): Promise<string> => {
  throw new Error("it ran a program");
};

test("the packages are those of a directory that are for the architecture", async () => {
  const names = ["tahoe-apt_1.0_amd64.deb", "tahoe-apt_1.0_arm64.deb", "tahoe-apt-nodejs_24_arm64.deb"];
  const directory = aDirectory(...names, "hello_1.0_arm64.deb", "tahoe-apt-1.0.tgz");
  const options = { architecture: "arm64", scratch: aDirectory(), run: mayRunNothing };
  expect(await ownPackages(directory, options)).toEqual([
    join(directory, "tahoe-apt-nodejs_24_arm64.deb"),
    join(directory, "tahoe-apt_1.0_arm64.deb"),
  ]);
  const none = aDirectory("tahoe-apt_1.0_amd64.deb");
  await expect(ownPackages(none, options)).rejects.toThrow(`${none} has no packages of tahoe-apt for arm64`);
});

test.runIf(process.getuid?.() === 0)("without mmdebstrap on the PATH, the reason says what to install", () => {
  const packages = aDirectory();
  expect(whyNotHere("/nowhere", packages)).toMatch(/needs mmdebstrap: apt-get install mmdebstrap$/);
  expect(whyNotHere(`/nowhere:${aDirectory("mmdebstrap")}`, packages)).toBeUndefined();
});
