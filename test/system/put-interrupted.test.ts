// `tahoe-apt put` with a kill at any moment, a gateway failure at any request, or parallel uploads: nothing is lost.
import { basename } from "node:path";
import { afterAll, beforeAll, expect, inject, test, vi } from "vitest";
import { parseTreePath } from "../../src/base/names.ts";
import { CommandLine } from "../support/command-line.ts";
import { aDeb, aDsc } from "../support/debs.ts";
import { InitializedTree } from "../support/initialized-tree.ts";
import type { InterruptingGateway } from "../support/interrupting-gateway.ts";
import { interruptingGateway } from "../support/interrupting-gateway.ts";
import { secondGateway } from "../support/second-gateway.ts";

const { signal } = new AbortController();
const binaries = "sid/main/binary-amd64";
const sources = "sid/main/source";
/** A test that runs the command about forty times. */
const manyRunsMs = 900_000;
let tree: InitializedTree;
let gateway: InterruptingGateway;
/** The same bundle with the interrupting gateway. */
let bundle: string;
let serial = 0;

beforeAll(async () => {
  tree = await InitializedTree.plant(inject("webapiUrl"), [binaries, sources]);
  gateway = await interruptingGateway(inject("webapiUrl"));
  bundle = tree.writeBundle("interrupted.bundle", { ...tree.bundle, gateways: [gateway.url] });
  // Otherwise the first links of a directory would be checked again, which is an additional request in some uploads
  // only.
  for (const path of [binaries, sources]) {
    await tree.writer.makeDirectory(tree.root, parseTreePath(`dists/${path}/alice/used`), signal);
  }
});

afterAll(async () => {
  await gateway?.end();
  await tree?.close();
});

interface Upload {
  readonly paths: readonly string[];
  readonly binaries: readonly string[];
  readonly sources: readonly string[];
}

/** A package with its source, with a new version. */
async function anUpload(): Promise<Upload> {
  const version = `1.${serial++}-1`;
  const { dsc, files } = aDsc({ source: "hello", version });
  const deb = `hello_${version}_amd64.deb`;
  const paths = tree.write(
    new Map([...files, [deb, await aDeb({ package: "hello", version, architecture: "amd64" })]]),
  );
  return {
    paths: paths.filter((path) => [dsc, deb].includes(basename(path))),
    binaries: [deb],
    sources: [...files.keys()].toSorted(),
  };
}

/** The names of these that exist in a directory. */
async function namesIn(path: string, names: readonly string[], inTree = tree): Promise<readonly string[]> {
  const known = await inTree.names(path);
  return names.filter((name) => known.includes(name));
}

async function expectComplete(upload: Upload, inTree = tree): Promise<void> {
  expect(await namesIn(sources, upload.sources, inTree)).toEqual(upload.sources);
  expect(await namesIn(binaries, upload.binaries, inTree)).toEqual(upload.binaries);
}

/** The requests of an undisturbed upload to its gateway. */
async function requestsOfUpload(): Promise<readonly string[]> {
  gateway.at(-1, "before", () => undefined);
  const { paths } = await anUpload();
  expect((await tree.put(paths, ["--bundle", bundle])).exitCode).toBe(0);
  return [...gateway.requests];
}

test(
  "after a kill at any request, before or after the gateway processed it, put leaves complete directories and succeeds next time",
  async () => {
    const requests = await requestsOfUpload();
    expect(requests.filter((each) => each.includes("set_children"))).toHaveLength(2);
    for (const when of ["before", "after"] as const) {
      for (const [number, request] of requests.entries()) {
        const upload = await anUpload();
        const command = new CommandLine(["put", "--bundle", bundle, ...upload.paths]);
        gateway.at(number, when, () => {
          command.child.kill("SIGKILL");
          return 500;
        });
        await command.ends();
        expect(command.child.signalCode, `${when} ${number} ${request}: ${command.output}`).toBe("SIGKILL");
        // All files of a directory or none, and no binary before its source.
        const [inSources, inBinaries] = [
          await namesIn(sources, upload.sources),
          await namesIn(binaries, upload.binaries),
        ];
        expect([0, upload.sources.length], `${when} ${request}`).toContain(inSources.length);
        if (inBinaries.length > 0) expect(inSources).toEqual(upload.sources);

        const again = await tree.put(upload.paths);
        expect(again.exitCode, again.output).toBe(0);
        await expectComplete(upload);
      }
    }
    const names = [...(await tree.names(sources)), ...(await tree.names(binaries))];
    expect(names.filter((name) => name.startsWith("hello_"))).toHaveLength(serial * 4);
  },
  manyRunsMs,
);

test("if only the response was lost, running put again changes nothing", async () => {
  const upload = await anUpload();
  await tree.put(upload.paths);
  const linked = async () => [...(await tree.entries(binaries)).entries()];
  const before = await linked();
  gateway.at(-1, "before", () => undefined);
  const again = await tree.put(upload.paths, ["--bundle", bundle, "--json"]);
  expect(JSON.parse(again.printed)).toMatchObject({ status: "live" });
  expect(gateway.requests.filter((each) => !each.startsWith("GET"))).toEqual([]);
  expect(await linked()).toEqual(before);
});

test(
  "a request that fails at a gateway, before or after it was processed, is repeated",
  async () => {
    const requests = await requestsOfUpload();
    for (const when of ["before", "after"] as const) {
      for (const number of requests.keys()) {
        const upload = await anUpload();
        gateway.at(number, when, () => 500);
        const { exitCode, output } = await tree.put(upload.paths, ["--bundle", bundle]);
        expect(exitCode, output).toBe(0);
        await expectComplete(upload);
      }
    }
  },
  manyRunsMs,
);

test("if the gateway is unreachable, put ends with 1, prints no cap, and changes nothing", async () => {
  const upload = await anUpload();
  const away = tree.writeBundle("away.bundle", { ...tree.bundle, gateways: ["http://127.0.0.1:9"] });
  const { exitCode, output } = await tree.put(upload.paths, ["--bundle", away]);
  expect([exitCode, output]).toEqual([1, expect.stringContaining("ECONNREFUSED")]);
  expect(output).not.toContain("URI");
  expect([await namesIn(sources, upload.sources), await namesIn(binaries, upload.binaries)]).toEqual([[], []]);
});

test("of two gateways, the reachable one is used", async () => {
  const upload = await anUpload();
  const gateways = ["http://127.0.0.1:9", inject("webapiUrl")];
  const partlyReachable = tree.writeBundle("half.bundle", { ...tree.bundle, gateways });
  expect((await tree.put(upload.paths, ["--bundle", partlyReachable])).exitCode).toBe(0);
  await expectComplete(upload);
});

test("a directory's first links that a parallel upload has overwritten are set again", async () => {
  const fresh = await InitializedTree.plant(inject("webapiUrl"), [binaries]);
  try {
    const [deb = ""] = (await anUpload()).paths.filter((path) => path.endsWith(".deb"));
    const command = new CommandLine(["put", "--bundle", fresh.file, deb]);
    await vi.waitFor(async () => expect(await fresh.names(binaries)).toEqual([basename(deb)]), { timeout: 30_000 });
    await fresh.writer.unlink(fresh.root, parseTreePath(`dists/${binaries}/alice/${basename(deb)}`), signal);
    expect(await command.ends(), command.output).toBe(0);
    expect(await fresh.names(binaries)).toEqual([basename(deb)]);
  } finally {
    await fresh.close();
  }
});

test.each(["empty", "used"])(
  "parallel uploads into one %s directory through two gateways all succeed, and none is lost",
  async (state) => {
    const other = await secondGateway(inject("tahoe"), inject("nodeDirectory"));
    const target = state === "used" ? tree : await InitializedTree.plant(inject("webapiUrl"), [binaries, sources]);
    try {
      const through = target.writeBundle("other.bundle", { ...target.bundle, gateways: [other.url] });
      const uploads = await Promise.all(Array.from({ length: 6 }, anUpload));
      const runs = await Promise.all(
        uploads.map(({ paths }, index) => target.put(paths, index % 2 === 0 ? [] : ["--bundle", through])),
      );
      for (const { exitCode, output } of runs) expect(exitCode, output).toBe(0);
      for (const upload of uploads) await expectComplete(upload, target);
    } finally {
      await other.stop();
      if (target !== tree) await target.close();
    }
  },
  manyRunsMs,
);
