// Imports follow the arrow of the design: each stage may use those that stand below it, and nothing goes in circles.
import { posix } from "node:path";
import { expect, test } from "vitest";
import { readProjectFile, sourceFiles } from "../support/project-files.ts";

const beforePublishing = ["base", "debian", "storage", "catalog", "indices", "signing"];

/** What puts the folders together, as the files beside them do: it may import all, and no folder may import it. */
const composition = "commands";

/** Which other folders of `src/` the files of a folder may import. The files beside the folders may import all. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  base: [],
  debian: ["base"],
  storage: ["base"],
  grid: ["base"],
  signing: ["base"],
  catalog: ["base", "debian", "storage"],
  indices: ["base", "debian", "catalog"],
  publishing: beforePublishing,
  http: ["base", "debian", "publishing"],
  builder: ["base", "debian", "storage", "catalog"],
  observe: ["base", "storage", "signing", "publishing"],
};

interface Import {
  readonly from: string;
  readonly to: string;
}

const importForms = [
  /^(?:import|export)\s[^;"]*?from\s+"(?<to>\.[^"]+)"/gm,
  /^import\s+"(?<to>\.[^"]+)"/gm,
  /\bimport\(\s*"(?<to>\.[^"]+)"/g,
  /\bnew URL\(\s*"(?<to>\.[^"]+\.ts)",\s*import\.meta\.url/g,
];

function importsOf(from: string, text: string): readonly Import[] {
  return importForms.flatMap((form) =>
    [...text.matchAll(form)].map(({ groups }) => ({
      from,
      to: posix.join(posix.dirname(from), groups?.to ?? ""),
    })),
  );
}

const stageOf = (path: string): string | undefined => /^src\/([^/]+)\//.exec(path)?.[1];

function forbidden({ from, to }: Import): boolean {
  const [importer, imported] = [stageOf(from), stageOf(to)];
  if (importer === undefined || importer === composition || importer === imported) return false;
  return imported === undefined || !mayImport[importer]?.includes(imported);
}

/** The first circle found, as the paths along it; undefined if there is none. */
function findCircle(imports: readonly Import[]): readonly string[] | undefined {
  const targets = new Map<string, Import[]>();
  for (const one of imports) targets.set(one.from, [...(targets.get(one.from) ?? []), one]);
  const done = new Set<string>();
  const walk = (path: string, trail: readonly string[]): readonly string[] | undefined => {
    if (trail.includes(path)) return [...trail.slice(trail.indexOf(path)), path];
    if (done.has(path)) return undefined;
    for (const { to } of targets.get(path) ?? []) {
      const circle = walk(to, [...trail, path]);
      if (circle) return circle;
    }
    done.add(path);
    return undefined;
  };
  for (const path of targets.keys()) {
    const circle = walk(path, []);
    if (circle) return circle;
  }
  return undefined;
}

const allImports = sourceFiles().flatMap((path) => importsOf(path, readProjectFile(path)));

test("every folder of src has its row in the import table", () => {
  const folders = new Set(sourceFiles().flatMap((path) => stageOf(path) ?? []));
  expect([...folders].filter((folder) => folder !== composition && !(folder in mayImport))).toEqual([]);
});

test("every import between the folders of src is one that the table allows", () => {
  expect(allImports.filter(forbidden)).toEqual([]);
});

test("no files import each other in a circle", () => {
  expect(findCircle(allImports)).toBeUndefined();
});

test("the reader of imports sees enough of them, and each target is a file", () => {
  const files = sourceFiles();
  const naive = files.flatMap((path) => readProjectFile(path).match(/ from "\./g) ?? []);
  expect(allImports.length).toBeGreaterThanOrEqual(naive.length);
  expect(allImports.length).toBeGreaterThan(files.length);
  expect(allImports.filter(({ to }) => !files.includes(to))).toEqual([]);
});

test("an import against the arrow is found, whatever its form", () => {
  for (const text of [
    'import { serve } from "../http/app.ts";',
    'import type {\n  App,\n} from "../http/app.ts";',
    'export { serve } from "../http/app.ts";',
    'import "../http/app.ts";',
    'const app = await import("../http/app.ts");',
    'new Worker(new URL("../http/app.ts", import.meta.url));',
  ]) {
    expect(importsOf("src/base/clock.ts", text).filter(forbidden), text).toHaveLength(1);
  }
});

test("a circle of three files is found", () => {
  const circle = findCircle([
    { from: "a.ts", to: "b.ts" },
    { from: "b.ts", to: "c.ts" },
    { from: "c.ts", to: "a.ts" },
  ]);
  expect(circle).toEqual(["a.ts", "b.ts", "c.ts", "a.ts"]);
});
