// Imports follow the arrow of the design: each stage may use those that stand below it, and nothing goes in circles.
import { posix } from "node:path";
import { expect, test } from "vitest";
import { readProjectFile, sourceFiles } from "../support/project-files.ts";

const beforePublishing = ["base", "debian", "storage", "catalog", "indices", "signing"];
const belowTheServer = [...beforePublishing, "publishing"];

/** These put the folders together: they may import each other and everything below. */
const composition = ["server", "local", "commands"];

/** Which other folders of `src/` the files of a folder may import. The entry points beside the folders may import all. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  base: [],
  debian: ["base"],
  storage: ["base"],
  signing: ["base"],
  catalog: ["base", "debian", "storage"],
  indices: ["base", "debian", "catalog"],
  publishing: beforePublishing,
  export: belowTheServer,
  verify: belowTheServer,
  upstream: ["base", "debian", "storage", "indices", "signing"],
  health: belowTheServer,
  http: ["base", "debian", "publishing"],
  cluster: ["base", "catalog", "publishing"],
  web: ["base", "debian", "catalog", "indices", "publishing", "http"],
  client: ["base", "debian", "storage", "catalog", "upstream"],
  observe: ["base", "storage", "signing", "publishing"],
  config: [...belowTheServer, "cluster", "http", "web", "client", "health"],
};

/**
 * Which other sub-folders of its folder the files of a sub-folder may import; "." is the folder itself. A folder that is
 * not listed has no sub-folders.
 */
const mayImportWithin: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  storage: { ".": [], decorators: ["."], tahoe: ["."], folder: [".", "decorators"] },
  catalog: {
    inspection: [],
    layout: ["inspection"],
    files: ["inspection", "layout"],
    store: ["inspection", "files"],
    metadata: ["inspection", "store"],
    ".": ["inspection", "layout", "files", "store", "metadata"],
    suite: [".", "inspection", "layout", "files"],
  },
  indices: { compression: [], ".": ["compression"], contents: ["."], pdiff: ["."] },
  publishing: {
    ".": [],
    store: ["."],
    build: [".", "store"],
    serve: [".", "store"],
    deferred: [".", "store", "build", "serve"],
    live: [".", "store", "build", "serve", "deferred"],
  },
  web: {
    data: [],
    search: ["data"],
    activity: ["data"],
    api: ["data"],
    webhooks: ["data"],
    html: [],
    feeds: ["data", "html"],
    pages: ["data", "activity", "html"],
  },
  client: { ".": [], upload: ["."], curation: [".", "upload"], import: [".", "upload", "curation"] },
  local: { grid: [], ".": ["grid"] },
  commands: { shared: [], ".": ["shared"] },
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

const folderOf = (path: string): string | undefined => /^src\/([^/]+)\//.exec(path)?.[1];
const subfolderOf = (path: string): string => /^src\/[^/]+\/([^/]+)\//.exec(path)?.[1] ?? ".";

function forbidden({ from, to }: Import): boolean {
  const [importer, imported] = [folderOf(from), folderOf(to)];
  if (importer === undefined) return false;
  if (importer !== imported)
    return !composition.includes(importer) && (imported === undefined || !mayImport[importer]?.includes(imported));
  const [inner, target] = [subfolderOf(from), subfolderOf(to)];
  return inner !== target && !mayImportWithin[importer]?.[inner]?.includes(target);
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
  const folders = new Set(sourceFiles().flatMap((path) => folderOf(path) ?? []));
  expect([...folders].toSorted()).toEqual([...Object.keys(mayImport), ...composition].toSorted());
});

test("every sub-folder has its row in the table of its folder", () => {
  const found = new Set(
    sourceFiles()
      .filter((path) => subfolderOf(path) !== ".")
      .map((path) => `${folderOf(path)}/${subfolderOf(path)}`),
  );
  const listed = Object.entries(mayImportWithin).flatMap(([folder, rows]) =>
    Object.keys(rows).flatMap((row) => (row === "." ? [] : [`${folder}/${row}`])),
  );
  expect([...found].toSorted()).toEqual(listed.toSorted());
});

test("only entry points stand beside the folders of src", () => {
  expect(sourceFiles().filter((path) => folderOf(path) === undefined)).toEqual(["src/cli.ts", "src/healthcheck.ts"]);
});

test("every import between folders and sub-folders of src is one that the tables allow", () => {
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

test("an import against the layers of publishing is found", () => {
  const text = 'import { Repository } from "../live/repository.ts";';
  expect(importsOf("src/publishing/store/publication-store.ts", text).filter(forbidden)).toHaveLength(1);
  expect(importsOf("src/publishing/serve/resource.ts", text).filter(forbidden)).toHaveLength(1);
});

test("a circle of three files is found", () => {
  const circle = findCircle([
    { from: "a.ts", to: "b.ts" },
    { from: "b.ts", to: "c.ts" },
    { from: "c.ts", to: "a.ts" },
  ]);
  expect(circle).toEqual(["a.ts", "b.ts", "c.ts", "a.ts"]);
});
