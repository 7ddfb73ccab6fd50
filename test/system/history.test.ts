// After any changes of a tree, in any order of pings, its indices are equal to a build from nothing.
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, relative } from "node:path";
import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import { entryIdentityOf } from "../../src/catalog/suite/index-entry.ts";
import { namedFiles } from "../../src/indices/named-files.ts";
import type { Ordered } from "../../src/indices/order.ts";
import { SegmentedList } from "../../src/indices/segments.ts";
import { cases } from "../support/cases.ts";
import { aDeb, aDsc } from "../support/debs.ts";
import type { SuiteFiles } from "../support/fresh-builds.ts";
import { freshBuilds, servedFiles } from "../support/fresh-builds.ts";
import { ServedFolder, sha256, treePath } from "../support/served-folder.ts";

const main = "dists/sid/main";
const amd64 = `${main}/binary-amd64`;
const source = `${main}/source`;
const firstLinkSeconds = 1_700_000_000;

/** Enough for two large segments with small ones after them, and for a few of sources. */
const packagesAtFirst = 520;
const sourcesAtFirst = 30;
const histories = 8;
/** On a busy machine fewer histories are run, but at least one. */
const budgetMs = 50_000;
const timeoutMs = 180_000;

/** The initial files of every history, with bytes and link times, by path. */
const beginning = new Map<string, { readonly bytes: Buffer; readonly at: number }>();

const lastOfSegments: string[] = [];

beforeAll(async () => {
  const ordered: Ordered[] = [];
  for (let n = 0; n < packagesAtFirst; n++) {
    const recipe = { package: `base${n}`, architecture: n % 5 === 0 ? "all" : "amd64", compression: "none" } as const;
    // Pairs with equal times, so that the order also depends on paths.
    const [path, bytes, at] = [`${amd64}/base/base${n}.deb`, await aDeb(recipe), firstLinkSeconds + 2 * (n >> 1)];
    beginning.set(path, { bytes, at });
    const identity = entryIdentityOf(treePath(path), sha256(bytes));
    ordered.push({ path: treePath(path), linkedAtMs: at * 1000, identity, stanzaBytes: 1000 });
  }
  for (const { items } of SegmentedList.build(ordered).segments()) lastOfSegments.push(items.at(-1)?.path ?? "");
  for (let n = 0; n < sourcesAtFirst; n++) {
    const { files } = aDsc({ source: `base${n}`, parts: { [`base${n}_1.0.tar.gz`]: `${n}` } });
    for (const [name, bytes] of files) beginning.set(`${source}/base/${name}`, { bytes, at: firstLinkSeconds + n });
  }
});

type Change =
  | { readonly kind: "put"; readonly directory: string; readonly name: string; readonly deb: Deb; readonly at: number }
  | { readonly kind: "overwrite"; readonly which: number; readonly deb: Deb; readonly at: number | undefined }
  | { readonly kind: "corrupt"; readonly which: number }
  | { readonly kind: "remove"; readonly which: number }
  | { readonly kind: "relink"; readonly which: number; readonly at: number | undefined }
  | { readonly kind: "copy" | "move"; readonly which: number; readonly directory: string }
  | { readonly kind: "source"; readonly directory: string; readonly dsc: Dsc; readonly at: number }
  | { readonly kind: "make-directory"; readonly directory: string }
  | { readonly kind: "remove-directory"; readonly directory: string };

interface Deb {
  readonly package: string;
  readonly version: string;
  readonly architecture: string;
  readonly files: { readonly [path: string]: string };
}

interface Dsc {
  readonly source: string;
  readonly version: string;
  readonly fields: { readonly [name: string]: string };
}

interface Step {
  readonly changes: readonly Change[];
  readonly restart: boolean;
  /** The pinged paths: each changed path, their directories, or the root; all at once or one after the other. */
  readonly look: "paths" | "directories" | "root";
  readonly atOnce: boolean;
}

const debDirectory = fc.constantFrom(
  ...["binary-amd64", "binary-amd64/one", "binary-amd64/one/deep", "binary-arm64/one", "binary-all/one"].map(
    (directory) => `${main}/${directory}`,
  ),
  "dists/sid/extra/binary-amd64",
);
const sourceDirectory = fc.constantFrom(source, `${source}/one`, "dists/sid/extra/source");
const at = fc.integer({ min: -5, max: packagesAtFirst + 20 }).map((n) => firstLinkSeconds + n);
const name = fc.constantFrom("a", "b", "c", "base7");
const deb = fc.record({
  package: name,
  version: fc.constantFrom("1.0-1", "1:2~rc1"),
  architecture: fc.constantFrom("amd64", "amd64", "all", "arm64"),
  files: fc.constantFrom("x", "y").map((content) => ({ "./content": content })),
});
// Both versions share an original tarball, so that two source packages have a file in common.
const dsc = fc.record({
  source: fc.constantFrom("s", "t"),
  version: fc.constantFrom("1.0-1", "1.0-2"),
  fields: fc.constantFrom("x", "y").map((homepage) => ({ Homepage: homepage })),
});
/** An existing file; negative numbers select the last of a segment, where a change also affects the next segment. */
const which = fc.oneof({ weight: 2, arbitrary: fc.nat() }, { weight: 1, arbitrary: fc.integer({ min: -5, max: -1 }) });
const atOrAsBefore = fc.option(at, { nil: undefined });

const change: fc.Arbitrary<Change> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("put"), directory: debDirectory, name, deb, at }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("overwrite"), which, deb, at: atOrAsBefore }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom("corrupt", "remove", "remove"), which }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("relink"), which, at: atOrAsBefore }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom("copy", "move"), which, directory: debDirectory }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("source"), directory: sourceDirectory, dsc, at }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom("make-directory", "remove-directory"),
      directory: fc.oneof(debDirectory, sourceDirectory, fc.constant("dists/sid/extra")),
    }),
  },
);

const step: fc.Arbitrary<Step> = fc.record({
  changes: fc.array(change, { minLength: 1, maxLength: 4 }),
  restart: fc.nat(5).map((n) => n === 0),
  look: fc.constantFrom("paths", "directories", "root"),
  atOnce: fc.boolean(),
});

/** Applies a change to the folder. @returns the changed paths */
async function applyChange(served: ServedFolder, wanted: Change): Promise<string[]> {
  const put = (path: string, bytes: Buffer | string, linkedAtSeconds: number | undefined): string[] => {
    const known = existingFile(served, path);
    served.put(path, bytes, linkedAtSeconds ?? known?.at);
    return [path];
  };
  if (wanted.kind === "put") {
    return put(`${wanted.directory}/${wanted.name}.deb`, await aDeb(wanted.deb), wanted.at);
  }
  if (wanted.kind === "source") {
    const { files } = aDsc(wanted.dsc);
    return [...files].flatMap(([file, bytes]) => put(`${wanted.directory}/${file}`, bytes, wanted.at));
  }
  if (wanted.kind === "make-directory") {
    served.makeDirectory(wanted.directory);
    return [wanted.directory];
  }
  if (wanted.kind === "remove-directory") {
    if (!existsSync(join(served.folder, wanted.directory))) return [];
    served.remove(wanted.directory);
    return [wanted.directory];
  }
  const files = filesOf(served);
  const path = (wanted.which < 0 ? lastOfSegments.at(wanted.which) : files[wanted.which % files.length]) ?? "";
  const known = existingFile(served, path);
  if (known === undefined) return [];
  switch (wanted.kind) {
    case "overwrite":
      return put(path, await aDeb(wanted.deb), wanted.at);
    case "corrupt":
      return put(path, known.bytes.subarray(0, known.bytes.length - 7), undefined);
    case "relink":
      return put(path, known.bytes, wanted.at);
    case "copy":
    case "move": {
      const touched = put(`${wanted.directory}/${basename(path)}`, known.bytes, known.at);
      if (wanted.kind === "copy" || touched[0] === path) return touched;
      served.remove(path);
      return [...touched, path];
    }
    case "remove":
      served.remove(path);
      return [path];
    default:
      return wanted satisfies never;
  }
}

function filesOf(served: ServedFolder): string[] {
  const entries = readdirSync(served.folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(served.folder, join(entry.parentPath, entry.name)))
    .toSorted();
}

function existingFile(served: ServedFolder, path: string): { readonly bytes: Buffer; readonly at: number } | undefined {
  const target = join(served.folder, path);
  const stat = statSync(target, { throwIfNoEntry: false });
  return stat?.isFile() ? { bytes: readFileSync(target), at: stat.mtimeMs / 1000 } : undefined;
}

async function pingChanged(served: ServedFolder, { look, atOnce }: Step, changed: readonly string[]): Promise<void> {
  const paths = { paths: changed, directories: changed.map((path) => dirname(path)), root: [""] }[look];
  if (atOnce) await Promise.all(paths.map((path) => served.ping(path)));
  else for (const path of paths) await served.ping(path);
}

/** Checks that every listed file with the name of a changed one is served with the listed bytes. */
async function expectChangedAreServed(served: ServedFolder, indices: SuiteFiles, changed: readonly string[]) {
  const names = new Set(changed.map((path) => basename(path)));
  for (const index of Object.keys(indices).filter((path) => /(Packages|Sources)$/.test(path))) {
    for (const { path } of namedFiles(await served.text(`dists/sid/${index}`))) {
      if (!names.has(basename(path))) continue;
      const bytes = (await served.bytes(path)) ?? "";
      if (/\.(deb|dsc)$/.test(path)) expect(path).toContain(sha256(bytes));
      else expect(bytes).not.toBe("");
    }
  }
}

/** Checks that every index that was ever listed is still served by its hash. */
async function expectAllByHash(served: ServedFolder, publications: readonly SuiteFiles[]): Promise<void> {
  const listed = new Map(publications.flatMap((files) => Object.entries(files).map(([path, hash]) => [hash, path])));
  for (const [hash, path] of listed) {
    if (path === "Release") continue;
    const bytes = await served.bytes(`dists/sid/${dirname(path)}/by-hash/SHA256/${hash}`);
    expect(sha256(bytes ?? ""), path).toBe(hash);
  }
}

const dateOf = async (served: ServedFolder): Promise<number> =>
  Date.parse(/^Date: (.*)$/m.exec(await served.text("dists/sid/Release"))?.[1] ?? "");

async function live(history: readonly Step[]): Promise<void> {
  const served = new ServedFolder({ translations: true });
  for (const [path, { bytes, at }] of beginning) served.put(path, bytes, at);
  const copies = mkdtempSync(join(tmpdir(), "tahoe-apt-history-"));
  try {
    await served.ping();
    const publications = [await servedFiles(served)];
    for (const each of history) {
      const dateBefore = await dateOf(served);
      const changed: string[] = [];
      for (const one of each.changes) changed.push(...(await applyChange(served, one)));
      if (each.restart) await served.restart();
      await pingChanged(served, each, changed);
      const files = await servedFiles(served);
      await expectChangedAreServed(served, files, changed);
      const date = await dateOf(served);
      if (files.Release !== publications.at(-1)?.Release) expect(date).toBeGreaterThan(dateBefore);
      // Several pings at once are published in any order, so a moved file may be gone for one publication.
      else if (each.atOnce && each.look !== "root" && changed.length > 1)
        expect(date).toBeGreaterThanOrEqual(dateBefore);
      else expect(date).toBe(dateBefore);
      cpSync(served.folder, join(copies, String(publications.length)), { recursive: true, preserveTimestamps: true });
      publications.push(files);
    }
    await expectAllByHash(served, publications);
    expect(publications.slice(1)).toEqual(await freshBuilds(history.map((_, n) => join(copies, String(n + 1)))));
  } finally {
    rmSync(copies, { recursive: true });
  }
}

const aDebOf = (name: string): Deb => ({ package: name, version: "1", architecture: "amd64", files: { "./it": "x" } });
const usual = { restart: false, look: "paths", atOnce: false } as const;

/** Cases that are rare in random histories: changes at the ends of segments, and duplicate files. */
const atTheEdges: readonly Step[] = [
  { ...usual, changes: [{ kind: "remove", which: -5 }] },
  { ...usual, changes: [{ kind: "overwrite", which: -4, deb: aDebOf("other"), at: undefined }] },
  {
    ...usual,
    changes: [firstLinkSeconds - 1, firstLinkSeconds + 300, firstLinkSeconds + 10_000].map((linkedAt) => ({
      kind: "put",
      directory: amd64,
      name: `at-${linkedAt}`,
      deb: aDebOf(`at-${linkedAt}`),
      at: linkedAt,
    })),
  },
  {
    ...usual,
    changes: [
      { kind: "copy", which: -3, directory: `${amd64}/one` },
      { kind: "relink", which: -3, at: firstLinkSeconds + 20_000 },
    ],
  },
];

/** Its directories are those of two builders, whose queues do not wait for each other. */
const movedAtOnce: readonly Step[] = [
  { ...usual, atOnce: true, changes: [{ kind: "move", which: -1, directory: amd64 }] },
];

test("after any history, incrementally built indices are byte for byte equal to a build from nothing", {
  timeout: timeoutMs,
}, async () => {
  // Instead of fast-check's own limit, which would leave a history and its server running.
  const enoughAtMs = performance.now() + budgetMs;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 6, size: "max" }), async (history) => {
      if (performance.now() < enoughAtMs) await live(history);
    }),
    { numRuns: cases(histories), examples: [[atTheEdges], [movedAtOnce]] },
  );
});
