// Odd packages: those that dpkg installs are accepted, and those that dpkg rejects or that break it are rejected.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { inspectContent } from "../../src/catalog/inspection/inspect.ts";
import { defaultInspectLimits as limits } from "../../src/catalog/inspection/inspect-limits.ts";
import { aDeb, compressed, tarHeader, tarOf, withChecksum } from "../support/debs.ts";
import { demandRoot } from "../support/rootfs.ts";

/** Whether dpkg installs a package into an empty root, and can still read its own database afterwards. */
function dpkgTakes(deb: Uint8Array): boolean {
  const folder = mkdtempSync(join(tmpdir(), "tahoe-apt-dpkg-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const database = join(folder, "root/var/lib/dpkg");
  for (const name of ["updates", "info"]) mkdirSync(join(database, name), { recursive: true });
  for (const name of ["status", "available"]) writeFileSync(join(database, name), "");
  writeFileSync(join(folder, "it.deb"), deb);
  const dpkg = (...args: readonly string[]) =>
    execFileSync("dpkg", [`--root=${join(folder, "root")}`, "--force-not-root", ...args], { stdio: "ignore" });
  try {
    dpkg("--install", join(folder, "it.deb"));
    dpkg("--remove", "hello");
    return true;
  } catch {
    return false;
  }
}

async function isTaken(deb: Uint8Array): Promise<boolean> {
  const inspection = await inspectContent("binary", deb, { limits, algorithms: ["sha256"], fileLists: true });
  return inspection.kind === "binary";
}

/** An entry without content, with this name, flag and link. */
const anEntry = (name: string, flag: string, link = ""): Buffer =>
  withChecksum(tarHeader(name, 0), (header) => header.write(flag, 156) && header.write(link, 157));

const control = "Package: hello\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: x\n long\n";
const withTime = async (time: string): Promise<Buffer> => {
  const deb = await aDeb({ control, files: {} });
  deb.write(time.padEnd(12), 8 + 16, "latin1");
  return deb;
};
const withEntry = async (entry: Uint8Array): Promise<Buffer> => {
  const content = Buffer.concat([
    (await tarOf([{ name: "./", type: "directory" }])).subarray(0, 512),
    entry,
    Buffer.alloc(1024),
  ]);
  return await aDeb({ control, members: ([a, b]) => [a!, b!, { name: "data.tar", content }] });
};
const withControl = (text: string): Promise<Buffer> => aDeb({ control: text, files: {} });

test.each<readonly [what: string, deb: () => Promise<Buffer>, verdict: boolean]>([
  ["lines that end as DOS ends them", () => withControl(control.replaceAll("\n", "\r\n")), true],
  ["a last line of a carriage return", () => withControl(`${control}\r\n`), false],
  ["a form feed behind a value", () => withControl(control.replace("Version: 1", "Version: 1\f")), true],
  ["a line of blanks inside", () => withControl(control.replace(" long", " \n long")), false],
  ["a blank time", () => withTime(""), true],
  ["a time with a decimal point", () => withTime("1700000000."), true],
  ["an entry without a name", () => withEntry(anEntry("", "0")), false],
  ["a directory without a name", () => withEntry(anEntry("", "5")), false],
  ["a file with the name of the root", () => withEntry(anEntry(".", "0")), false],
  ["a file with a slash behind the name of the root", () => withEntry(anEntry("./", "0")), false],
  ["a directory by the name of the root", () => withEntry(anEntry("./", "5")), true],
  ["a directory by a name that dpkg can't read again", () => withEntry(anEntry("/", "5")), false],
  ["a symbolic link in place of the root", () => withEntry(anEntry("./", "2", "x")), false],
  ["a line feed in a name", () => withEntry(anEntry("./a\nb", "0")), false],
  ["a symbolic link to nowhere", () => withEntry(anEntry("./a", "2", "nowhere")), true],
  ["a symbolic link to nothing", () => withEntry(anEntry("./a", "2")), false],
  ["a contiguous file", () => withEntry(anEntry("./a", "7")), false],
  ["an absolute name", () => withEntry(anEntry("/a", "0")), true],
])("dpkg and we agree on %s", async (_what, deb, verdict) => {
  demandRoot();
  const bytes = await deb();
  expect(dpkgTakes(bytes)).toBe(verdict);
  expect(await isTaken(bytes)).toBe(verdict);
});

test("dpkg and we agree on one and on several zstd frames", async () => {
  demandRoot();
  const tar = await tarOf([
    { name: "./", type: "directory" },
    { name: "./a", content: "x".repeat(3000) },
  ]);
  const halves = [tar.subarray(0, 2000), tar.subarray(2000)];
  const frames = await Promise.all(halves.map((half) => compressed("zst", half)));
  for (const [content, verdict] of [
    [await compressed("zst", tar), true],
    [Buffer.concat(frames), false],
  ] as const) {
    const deb = await aDeb({ control, members: ([a, b]) => [a!, b!, { name: "data.tar.zst", content }] });
    expect(dpkgTakes(deb)).toBe(verdict);
    expect(await isTaken(deb)).toBe(verdict);
  }
});
