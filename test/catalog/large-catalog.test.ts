// A catalog of many files: the cost of a survey is proportional to its files, and it yields to the event loop.
import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { ContentId } from "../../src/base/content-id.ts";
import type { TreePath } from "../../src/base/names.ts";
import { parseTreePath } from "../../src/base/names.ts";
import { Catalog } from "../../src/catalog/catalog.ts";
import type { Examined, Examiner } from "../../src/catalog/examiner.ts";
import { findingOf } from "../../src/catalog/files/finding.ts";
import type { Survey } from "../../src/catalog/survey.ts";
import type { FileEntry } from "../../src/storage/tree.ts";
import { longestBlockMs } from "../support/event-loop-block.ts";

const directory = parseTreePath("dists/sid/main/binary-amd64/builder");
const noSignal = new AbortController().signal;
const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

function aFile(n: number, content = `content ${n}`): readonly [TreePath, FileEntry] {
  const path = parseTreePath(`${directory}/p${n}.deb`);
  return [
    path,
    {
      kind: "file",
      sizeBytes: 1,
      content: new ContentId(content),
      linkedAtMs: 0,
      relinkedAtMs: 0,
      metadata: undefined,
    },
  ];
}

/** A fake: every file is a valid package with metadata of its uploader only. Counts the calls. */
class FakeExaminer {
  readonly claims = { wordsOf: () => undefined };
  calls = 0;
  digestOf = (path: TreePath): string => sha256(path);
  async examine({ path }: { readonly path: TreePath }, _signal: AbortSignal, claimRecord?: string): Promise<Examined> {
    this.calls += 1;
    const control = [
      ["Package", path.replace(/.*\//, "").replace(".deb", "")],
      ["Version", "1"],
      ["Architecture", "amd64"],
    ] as const;
    const digests = { sha256: this.digestOf(path) };
    const finding = findingOf({ kind: "binary", sizeBytes: 1, digests, builtAtSeconds: 1, control });
    return { claimed: claimRecord === undefined, finding };
  }
  storedFindings = (files: readonly unknown[]): readonly undefined[] => files.map(() => undefined);
  async examineWords(): Promise<undefined> {}
  async doubt(): Promise<void> {}
}

const noOtherResults = { unlisted: new Map(), skipped: new Map(), separate: new Map() };

async function aCatalog(count: number) {
  const examiner = new FakeExaminer();
  const catalog = new Catalog(examiner as unknown as Examiner);
  const files = new Map(Array.from({ length: count }, (_, n) => aFile(n)));
  const look = async (survey: Pick<Survey, "path" | "files">, directories: readonly TreePath[] = []) => {
    const changes: TreePath[] = [];
    const whole = { ...survey, directories: new Set(directories), ...noOtherResults };
    const number = catalog.surveyOrder.begin(survey.path);
    await catalog.update(whole, number, (reported) => changes.push(...reported.map(({ path }) => path)), noSignal);
    catalog.surveyOrder.end(number);
    return changes;
  };
  await look({ path: directory, files }, [directory]);
  return { catalog, examiner, files, look };
}

test("a survey of one new file queries no other file, however many are known", async () => {
  const { examiner, look, files } = await aCatalog(20_000);
  const before = examiner.calls;
  const started = process.cpuUsage();
  for (let n = 0; n < 200; n++) {
    const [path, entry] = aFile(100_000 + n);
    expect(await look({ path, files: new Map([[path, entry]]) })).toEqual([path]);
  }
  expect(examiner.calls - before).toBe(200);
  const { user } = process.cpuUsage(started);
  // Computing the digests of all files would take about 10 ms each time.
  expect(user / 1000 / 200).toBeLessThan(3);
  expect(files.size).toBe(20_000);
});

test("a claim to the digest of another file is found among many files", async () => {
  const { catalog, examiner, look } = await aCatalog(5000);
  const known = parseTreePath(`${directory}/p77.deb`);
  const of = examiner.digestOf;
  const [path, entry] = aFile(100_000, "other bytes");
  examiner.digestOf = (each) => (each === path ? of(known) : of(each));
  await look({ path, files: new Map([[path, entry]]) });
  // Both were read, so their metadata is no longer used.
  expect([catalog.file(path)?.claimed, catalog.file(known)?.claimed]).toEqual([false, false]);
  expect(catalog.file(parseTreePath(`${directory}/p78.deb`))?.claimed).toBe(true);
});

test("many files are applied in batches that yield to the event loop, and each is reported once", async () => {
  const { look, files, catalog } = await aCatalog(10);
  const many = new Map([...files, ...Array.from({ length: 30_000 }, (_, n) => aFile(n + 10))]);
  let changes: readonly TreePath[] = [];
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  const startedMs = performance.now();
  const stoodStillMs = await longestBlockMs(async () => {
    changes = await look({ path: directory, files: many }, [directory]);
  });
  clearInterval(timer);
  expect(stoodStillMs).toBeLessThan((performance.now() - startedMs) / 2);
  expect(changes.toSorted()).toEqual([...many.keys()].slice(10).toSorted());
  expect(turns).toBeGreaterThan(30);
  expect(catalog.file(parseTreePath(`${directory}/p29999.deb`))).toBeDefined();
  const gone = await look({ path: directory, files }, [directory]);
  expect(gone).toHaveLength(30_000);
  expect(catalog.file(parseTreePath(`${directory}/p29999.deb`))).toBeUndefined();
});

test("each batch reports the undecided files, including those that are inspected but not yet applied", async () => {
  const { catalog } = await aCatalog(10);
  const files = new Map(Array.from({ length: 5000 }, (_, n) => aFile(n + 10)));
  const survey = { path: directory, files, directories: new Set([directory]), ...noOtherResults };
  const number = catalog.surveyOrder.begin(directory);
  let taken = 0;
  const left: number[] = [];
  const tell = (changes: readonly { readonly after: unknown }[], undecided: ReadonlySet<TreePath>) => {
    taken += changes.filter(({ after }) => after !== undefined).length;
    left.push(undecided.size);
    // Otherwise a suite could be published without packages of its last publication.
    expect(taken + undecided.size).toBe(5000);
  };
  await catalog.update(survey, number, tell, noSignal);
  catalog.surveyOrder.end(number);
  expect(left.length).toBeGreaterThan(3);
  expect(left.at(-1)).toBe(0);
});
