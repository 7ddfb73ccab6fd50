// One source file works on machines of every architecture, and offers none of them packages that they cannot install.
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import fetch from "node-fetch";
import { expect, onTestFinished, test } from "vitest";
import { AptRoot } from "../support/apt.ts";
import { aDeb, aDsc } from "../support/debs.ts";
import { trixieMachine } from "../support/rootfs.ts";
import { ServerUnderTest } from "../support/server.ts";

const machineTimeoutMs = 480_000;

async function serve(files: ReadonlyMap<string, Uint8Array>) {
  const work = mkdtempSync(join(tmpdir(), "tahoe-apt-sources-"));
  const put = (path: string, bytes: Uint8Array): void => {
    mkdirSync(dirname(join(work, "tree", path)), { recursive: true });
    writeFileSync(join(work, "tree", path), bytes);
  };
  for (const [path, bytes] of files) put(path, bytes);
  writeFileSync(
    join(work, "conf"),
    'state = "state"\npoll_seconds = 1\n[[repository]]\nname = "it"\nfolder = "tree"\n',
  );
  const server = await ServerUnderTest.start({ flags: ["--config", join(work, "conf")] });
  onTestFinished(async () => {
    await server.end();
    rmSync(work, { recursive: true });
  });
  await server.ready();
  const url = `${server.url}/it`;
  const source = async (): Promise<string> => await (await fetch(`${url}/it.sources`)).text();
  await expect.poll(source, { timeout: 20_000 }).toContain("Suites: sid\n");
  return { url, put, source: await source() };
}

const binary = async (name: string, architecture: string) =>
  [`dists/sid/main/binary-${architecture}/${name}.deb`, await aDeb({ package: name, architecture })] as const;

const threeArchitectures = async (): Promise<ReadonlyMap<string, Uint8Array>> =>
  new Map([await binary("everywhere", "amd64"), await binary("only386", "i386"), await binary("only-arm", "arm64")]);

/** The same file with explicit architectures. */
const withArchitectures = (source: string): string =>
  source.replace("Signed-By:", "Architectures: amd64 i386 arm64\nSigned-By:");

async function updateResult(
  source: string,
): Promise<{ readonly architectures: readonly string[]; readonly names: readonly string[] }> {
  const apt = new AptRoot({ source, options: { "Debug::Acquire::http": "true" } });
  onTestFinished(() => apt.close());
  const output = await apt.update();
  const found = [...output.matchAll(/^GET \S+\/binary-(\w+)\//gm)].map(([, architecture = ""]) => architecture);
  return { architectures: [...new Set(found)].toSorted(), names: await apt.packageNames() };
}

test("a machine downloads only the indices of its own architecture, which explicit architectures would change", async () => {
  const { source } = await serve(await threeArchitectures());
  expect(source).not.toContain("Architectures");
  expect(await updateResult(source)).toEqual({ architectures: ["amd64"], names: ["everywhere"] });
  expect((await updateResult(withArchitectures(source))).architectures).toEqual(["amd64", "arm64", "i386"]);
});

test("a machine with an architecture that was added later needs no new file", async () => {
  const { url, put, source } = await serve(await threeArchitectures());
  const [path, bytes] = await binary("late", "riscv64");
  put(path, bytes);
  await expect
    .poll(async () => (await fetch(`${url}/dists/sid/main/binary-riscv64/Packages`)).status, { timeout: 20_000 })
    .toBe(200);
  const apt = new AptRoot({ source, architecture: "riscv64" });
  onTestFinished(() => apt.close());
  await apt.update();
  expect(await apt.download("late")).toEqual(bytes);
});

test("apt does not complain about a repository that has only sources, as it would if it requested packages", async () => {
  const dsc = aDsc({ source: "greet" });
  const files = [...dsc.files].map(([name, bytes]) => [`dists/sid/main/source/${name}`, bytes] as const);
  const { source } = await serve(new Map(files));
  const update = async (text: string): Promise<{ readonly apt: AptRoot; readonly output: string }> => {
    const apt = new AptRoot({ source: text });
    onTestFinished(() => apt.close());
    return { apt, output: (await apt.run("apt-get", "update")).output };
  };
  const { apt, output } = await update(source);
  expect(output).not.toMatch(/^[WEN]:/m);
  expect([...(await apt.source("greet")).keys()].toSorted()).toEqual([...dsc.files.keys()].toSorted());
  expect((await update(source.replace("Types: deb-src", "Types: deb deb-src"))).output).toMatch(/^[WEN]:/m);
});

test("apt 3 downloads no index of an architecture that the machine does not have", {
  timeout: machineTimeoutMs,
}, async () => {
  const { source } = await serve(await threeArchitectures());
  const machine = await trixieMachine();
  onTestFinished(() => machine.remove());
  mkdirSync(join(machine.changes, "srv"), { recursive: true });
  writeFileSync(join(machine.changes, "srv/it.sources"), source);
  writeFileSync(join(machine.changes, "srv/named.sources"), withArchitectures(source));
  const [command, args] = await machine.enter(`exec 2>&1
    rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
    for file in it named; do
      cp /srv/$file.sources /etc/apt/sources.list.d/it.sources
      apt-get update -o APT::Update::Error-Mode=any && echo "$file: updated"
      apt-get -s install everywhere && echo "$file: everywhere"
      apt-get -s install only386 && echo "$file: only386"
    done; true`);
  const output = await new Promise<string>((resolve, reject) => {
    execFile(command, args, (error, stdout, stderr) => {
      if (error === null) resolve(stdout + stderr);
      else reject(new Error(`${command}: ${stdout}${stderr}`));
    });
  });
  const done = [...output.matchAll(/^(?:it|named): .*$/gm)].map(([line]) => line);
  expect(done, output).toEqual([
    "it: updated",
    "it: everywhere",
    "named: updated",
    "named: everywhere",
    "named: only386",
  ]);
});
