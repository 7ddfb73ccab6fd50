// Flat repositories with real apt: directories of packages without dists, at the root and deep in a tree.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import fetch from "node-fetch";
import { expect, onTestFinished, test } from "vitest";
import { AptRoot } from "../support/apt.ts";
import { CommandLine } from "../support/command-line.ts";
import { aDeb, aDsc } from "../support/debs.ts";
import { ServerUnderTest } from "../support/server.ts";

interface Served {
  readonly url: string;
  readonly put: (path: string, bytes: Uint8Array) => void;
  readonly restart: () => Promise<void>;
}

async function serve(files: ReadonlyMap<string, Uint8Array>, config = "", global = ""): Promise<Served> {
  const work = mkdtempSync(join(tmpdir(), "tahoe-apt-flat-"));
  const put = (path: string, bytes: Uint8Array): void => {
    mkdirSync(dirname(join(work, "tree", path)), { recursive: true });
    writeFileSync(join(work, "tree", path), bytes);
  };
  for (const [path, bytes] of files) put(path, bytes);
  writeFileSync(
    join(work, "conf"),
    `state = "state"\npoll_seconds = 1\n${global}[[repository]]\nname = "it"\nfolder = "tree"\n${config}`,
  );
  const start = async (port?: number) => {
    const server = await ServerUnderTest.start({ flags: ["--config", join(work, "conf")], ...(port && { port }) });
    await server.ready();
    return server;
  };
  let server = await start();
  onTestFinished(async () => {
    await server.end();
    rmSync(work, { recursive: true });
  });
  const restart = async () => {
    await server.end();
    server = await start(server.port);
  };
  return { url: `${server.url}/it`, put, restart };
}

async function updated(source: string): Promise<AptRoot> {
  const apt = new AptRoot({ source });
  onTestFinished(() => apt.close());
  const { exitCode, output } = await apt.run("apt-get", "update");
  expect(output).not.toMatch(/^[WE]:/m);
  expect(exitCode).toBe(0);
  return apt;
}

const textOf = async (url: string): Promise<string> => await (await fetch(url)).text();

test("a tree of packages without dists is a flat repository: apt installs and downloads sources from it", async () => {
  const hello = await aDeb({ package: "hello", version: "1:2.0+b~1", architecture: "amd64" });
  const dsc = aDsc({ source: "greet" });
  const { url, put, restart } = await serve(
    new Map([
      ["hello.deb", hello],
      ["more/below/other.deb", await aDeb({ package: "other", architecture: "all" })],
      ...dsc.files,
    ]),
  );
  await expect.poll(() => textOf(`${url}/Packages`)).toContain("Package: hello\n");
  const source = await textOf(`${url}/it.sources`);
  expect(source).toContain(`URIs: ${url}\nSuites: ./\n`);
  const apt = await updated(source);
  expect(await apt.download("hello")).toEqual(hello);
  expect((await apt.run("apt-cache", "policy", "other")).output).toContain(`${url} ./`);
  expect([...(await apt.source("greet")).keys()].toSorted()).toEqual([...dsc.files.keys()].toSorted());

  put("later.deb", await aDeb({ package: "later", architecture: "arm64" }));
  await expect.poll(() => textOf(`${url}/Packages`)).toContain("Package: later\n");
  const release = await textOf(`${url}/Release`);
  await restart();
  expect(await textOf(`${url}/Release`)).toBe(release);
  expect(release).not.toMatch(/^(Suite|Codename|Components|Architectures):/m);
});

test("a flat repository announces no changelogs, snapshots or Contents, which it does not have", async () => {
  const hello = await aDeb({ package: "hello", architecture: "amd64" });
  const { url } = await serve(new Map([["hello.deb", hello]]), "", 'public_url = "http://127.0.0.1:1"\n');
  await expect.poll(() => textOf(`${url}/Release`)).toContain("Packages.xz\n");
  expect(await textOf(`${url}/Release`)).not.toMatch(/^(Changelogs|Snapshots):|Contents-/m);
});

test("export omits flat repositories, reports it, and exports everything else", async () => {
  const work = mkdtempSync(join(tmpdir(), "tahoe-apt-flat-"));
  onTestFinished(() => rmSync(work, { recursive: true }));
  const put = async (path: string, name: string): Promise<void> => {
    mkdirSync(dirname(join(work, "tree", path)), { recursive: true });
    writeFileSync(join(work, "tree", path), await aDeb({ package: name, architecture: "amd64" }));
  };
  await put("b.deb", "b");
  const exported = async (site: string, ...flags: readonly string[]): Promise<string> => {
    const command = new CommandLine(["export", ...flags, site], { cwd: work });
    expect(await command.ends(), command.output).toBe(0);
    return command.output;
  };
  expect(await exported("site", "--folder", "tree")).toContain("left out: ./ is a flat repository");

  await put("extras/c.deb", "c");
  await put("dists/sid/main/binary-amd64/a.deb", "a");
  writeFileSync(join(work, "conf"), '[[repository]]\nname = "it"\nfolder = "tree"\nflat = ["extras"]\n');
  const output = await exported("site-of-it", "--config", "conf");
  expect(output.match(/left out: .* is a flat repository/g)).toEqual(["left out: ./extras is a flat repository"]);
  expect(readFileSync(join(work, "site-of-it/dists/sid/main/binary-amd64/Packages"), "utf8")).toContain("Package: a\n");
});

test("a directory beside dists is flat if the configuration says so, and both are served", async () => {
  const { url } = await serve(
    new Map([
      ["dists/sid/main/binary-amd64/a.deb", await aDeb({ package: "a", architecture: "amd64" })],
      ["extras/to ols/b.deb", await aDeb({ package: "b", architecture: "amd64" })],
      ["extras/notes.txt", Buffer.from("other files stay what they are\n")],
    ]),
    'flat = ["extras"]\n',
  );
  await expect.poll(() => textOf(`${url}/extras/Packages`)).toContain("Package: b\n");
  await expect.poll(() => textOf(`${url}/dists/sid/Release`)).toContain("Suite: sid\n");
  const source = await textOf(`${url}/it.sources`);
  const apt = await updated(source);
  for (const name of ["a", "b"]) await apt.download(name);
  expect(await textOf(`${url}/extras/notes.txt`)).toContain("stay what they are");
  expect((await fetch(`${url}/Packages`)).status).toBe(404);
  expect(await textOf(`${url}/`)).toContain("./extras");
});
