// `tahoe-apt put` against a real grid, a real server and a real apt: what is uploaded is installable, or nothing changes.
import { afterAll, beforeAll, expect, inject, onTestFinished, test } from "vitest";
import type { PutOutcome } from "../../src/builder/put.ts";
import type { AptRoot } from "../support/apt.ts";
import type { DebRecipe } from "../support/debs.ts";
import { aDeb, aDsc } from "../support/debs.ts";
import { PlantedTree } from "../support/planted-tree.ts";

const amd64 = "sid/main/binary-amd64";
const all = "sid/main/binary-all";
const source = "sid/main/source";
let tree: PlantedTree;

beforeAll(async () => {
  tree = await PlantedTree.plant(inject("webapiUrl"));
});
afterAll(() => tree?.close());

const file = async (recipe: DebRecipe & { readonly package: string }): Promise<readonly [string, Buffer]> => {
  const { version = "1.0-1", architecture = "amd64" } = recipe;
  const name = `${recipe.package}_${version.replace(/^\d+:/, "")}_${architecture}.deb`;
  return [name, await aDeb({ ...recipe, version, architecture })];
};

async function putJson(
  paths: readonly string[],
  ...flags: readonly string[]
): Promise<PutOutcome & { exitCode: number | null }> {
  const { exitCode, output } = await tree.put(paths, ["--json", ...flags]);
  try {
    return { ...(JSON.parse(output) as PutOutcome), exitCode };
  } catch {
    throw new Error(`put said:\n${output}`);
  }
}

async function updated(): Promise<AptRoot> {
  const machine = await tree.apt();
  onTestFinished(() => machine.close());
  await machine.update();
  return machine;
}

test("binaries, an arch:all package and a source go each to its place, and apt has them when put ends", async () => {
  const { dsc, files: sources } = aDsc({ source: "hello", version: "1:1.0-1" });
  const files = new Map([
    ...sources,
    await file({ package: "hello", version: "1:1.0-1" }),
    await file({ package: "hello-data", architecture: "all" }),
  ]);
  const paths = tree.write(files);
  const { exitCode, status, packages, seconds } = await putJson(paths.filter((path) => /\.deb$|\.dsc$/.test(path)));
  expect([exitCode, status]).toEqual([0, "live"]);
  expect(
    packages.map((each) => [each.name, each.version, each.architecture, each.suite, each.component, each.state]),
  ).toEqual([
    ["hello", "1:1.0-1", "source", "sid", "main", "live"],
    ["hello-data", "1.0-1", "all", "sid", "main", "live"],
    ["hello", "1:1.0-1", "amd64", "sid", "main", "live"],
  ]);
  expect(Object.keys(seconds)).toEqual(["check", "upload", "link", "ping"]);
  expect([await tree.names(amd64), await tree.names(all), await tree.names(source)]).toEqual([
    ["hello_1.0-1_amd64.deb"],
    ["hello-data_1.0-1_all.deb"],
    [...sources.keys()].toSorted(),
  ]);

  const machine = await updated();
  expect(await machine.download("hello")).toEqual(files.get("hello_1.0-1_amd64.deb"));
  expect(await machine.download("hello-data")).toEqual(files.get("hello-data_1.0-1_all.deb"));
  expect((await machine.source("hello")).get(dsc)).toEqual(files.get(dsc));
});
