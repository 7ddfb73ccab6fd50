// Publications of another replica that may become current at any moment.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { Suite } from "../../../src/base/names.ts";
import { parseRepositoryName, parseSuite } from "../../../src/base/names.ts";
import type { UnsignedManifest } from "../../../src/publishing/store/publication.ts";
import { publicationId } from "../../../src/publishing/store/publication.ts";
import { PublicationStore } from "../../../src/publishing/store/publication-store.ts";
import { closeStateDatabase, openStateDatabase } from "../../../src/publishing/store/state-database.ts";

function aStore(): PublicationStore {
  const directory = mkdtempSync(join(tmpdir(), "publications-"));
  const root = openStateDatabase(join(directory, "database"));
  onTestFinished(async () => {
    await closeStateDatabase(root);
    rmSync(directory, { recursive: true });
  });
  return new PublicationStore(root, parseRepositoryName("debian"));
}

const aManifest = (suite: Suite, dateSeconds: number): UnsignedManifest => ({
  suite,
  id: publicationId(dateSeconds),
  dateSeconds,
  state: "",
  components: [],
  architectures: [],
  binaryPackages: 0,
  sourcePackages: 0,
  indices: [],
  blobs: [],
  release: "",
});

test("of those that are never published, only the last four of each suite are kept in memory", async () => {
  const store = aStore();
  const [sid, trixie] = [parseSuite("sid"), parseSuite("trixie")];
  const prepare = (suite: Suite, dateSeconds: number) =>
    store.prepare(aManifest(suite, dateSeconds), async () => undefined);
  await prepare(trixie, 1);
  for (const dateSeconds of [1, 2, 3, 4, 5, 5, 6]) await prepare(sid, dateSeconds);
  const prepared = [1, 2, 3, 4, 5, 6].filter((each) => store.prepared(sid, publicationId(each)) !== undefined);
  expect(prepared).toEqual([3, 4, 5, 6]);
  expect(store.prepared(trixie, publicationId(1))).toBeDefined();
});
