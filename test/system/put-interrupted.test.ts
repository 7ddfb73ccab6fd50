// `tahoe-apt put` killed at any moment, failed by its gateway at any request, or beside others: nothing is torn or lost.
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
/** A test that runs the command some forty times. */
const manyRunsMs = 900_000;
let tree: InitializedTree;
let gateway: InterruptingGateway;
/** The same bundle, but its gateway is the one that interrupts. */
let bundle: string;
let serial = 0;

beforeAll(async () => {
  tree = await InitializedTree.plant(inject("webapiUrl"), [binaries, sources]);
  gateway = await interruptingGateway(inject("webapiUrl"));
  bundle = tree.writeBundle("interrupted.bundle", { ...tree.bundle, gateways: [gateway.url] });
  // The first links of a directory would be looked at once more: one request more in some uploads, and none in others.
  for (const place of [binaries, sources]) {
    await tree.writer.makeDirectory(tree.root, parseTreePath(`dists/${place}/alice/used`), signal);
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

/** A package with its source, of a version that nobody has. */
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

/** Those of these names that are in a place. */
async function there(place: string, names: readonly string[], inTree = tree): Promise<readonly string[]> {
  const known = await inTree.names(place);
  return names.filter((name) => known.includes(name));
}

async function isWhole(upload: Upload, inTree = tree): Promise<void> {
  expect(await there(sources, upload.sources, inTree)).toEqual(upload.sources);
  expect(await there(binaries, upload.binaries, inTree)).toEqual(upload.binaries);
}

/** How many requests an undisturbed upload makes of its gateway. */
async function requestsOfOne(): Promise<readonly string[]> {
  gateway.at(-1, "before", () => undefined);
  const { paths } = await anUpload();
  expect((await tree.put(paths, ["--bundle", bundle])).exitCode).toBe(0);
  return [...gateway.requests];
}

test(
  "killed at any request, before or after the gateway has done it, put leaves whole directories and ends well the next time",
  async () => {
    const requests = await requestsOfOne();
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
        // All of a directory's files or none; and no binary before its source.
        const [inSources, inBinaries] = [await there(sources, upload.sources), await there(binaries, upload.binaries)];
        expect([0, upload.sources.length], `${when} ${request}`).toContain(inSources.length);
        if (inBinaries.length > 0) expect(inSources).toEqual(upload.sources);

        const again = await tree.put(upload.paths);
        expect(again.exitCode, again.output).toBe(0);
        await isWhole(upload);
      }
    }
    const names = [...(await tree.names(sources)), ...(await tree.names(binaries))];
    expect(names.filter((name) => name.startsWith("hello_"))).toHaveLength(serial * 4);
  },
  manyRunsMs,
);

test("a run that was complete but for its answer changes nothing when it is run again", async () => {
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
  "a gateway that fails at any one request, before or after it has done it, is asked again",
  async () => {
    const requests = await requestsOfOne();
    for (const when of ["before", "after"] as const) {
      for (const number of requests.keys()) {
        const upload = await anUpload();
        gateway.at(number, when, () => 500);
        const { exitCode, output } = await tree.put(upload.paths, ["--bundle", bundle]);
        expect(exitCode, output).toBe(0);
        await isWhole(upload);
      }
    }
  },
  manyRunsMs,
);

test("when the gateway is away, put ends with 1, names no cap, and nothing was changed", async () => {
  const upload = await anUpload();
  const away = tree.writeBundle("away.bundle", { ...tree.bundle, gateways: ["http://127.0.0.1:9"] });
  const { exitCode, output } = await tree.put(upload.paths, ["--bundle", away]);
  expect([exitCode, output]).toEqual([1, expect.stringContaining("ECONNREFUSED")]);
  expect(output).not.toContain("URI");
  expect([await there(sources, upload.sources), await there(binaries, upload.binaries)]).toEqual([[], []]);
});

test("of two gateways, the one that is up is used", async () => {
  const upload = await anUpload();
  const gateways = ["http://127.0.0.1:9", inject("webapiUrl")];
  const half = tree.writeBundle("half.bundle", { ...tree.bundle, gateways });
  expect((await tree.put(upload.paths, ["--bundle", half])).exitCode).toBe(0);
  await isWhole(upload);
});

test("a directory's first links, overwritten by one who lost the race for it, are set again", async () => {
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
  "uploads into one %s directory at the same moment, through two gateways, all end well, and none is lost",
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
      for (const upload of uploads) await isWhole(upload, target);
    } finally {
      await other.stop();
      if (target !== tree) await target.close();
    }
  },
  manyRunsMs,
);
