// Where the examiner gets inspections from.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { ContentId } from "../../src/base/content-id.ts";
import { parseTreePath } from "../../src/base/names.ts";
import { Examiner } from "../../src/catalog/examiner.ts";
import { findingOf } from "../../src/catalog/files/finding.ts";
import { defaultInspectLimits } from "../../src/catalog/inspection/inspect-limits.ts";
import type { BinaryInspection } from "../../src/catalog/inspection/inspection.ts";
import { bytesKey } from "../../src/catalog/inspection/inspection-keys.ts";
import { InspectionStore } from "../../src/catalog/store/inspection-store.ts";
import { openStateDatabase } from "../../src/publishing/store/state-database.ts";

const inspection: BinaryInspection = {
  kind: "binary",
  sizeBytes: 7,
  digests: { sha256: "3".repeat(64) },
  builtAtSeconds: 1_700_000_000,
  control: [
    ["Package", "hello"],
    ["Version", "1"],
    ["Architecture", "amd64"],
  ],
};

const neverCalled = () => Promise.reject(new Error("nothing is read"));

test("stored inspections are found at once, except those of untrusted contents", async () => {
  const directory = mkdtempSync(join(tmpdir(), "examiner-"));
  const root = openStateDatabase(join(directory, "database"));
  onTestFinished(async () => {
    await root.close();
    rmSync(directory, { recursive: true });
  });
  const inspectionStore = new InspectionStore(root.openDB({ name: "ledger", encoding: "binary" }), "", ["sha256"]);
  const counted: unknown[] = [];
  const examiner = new Examiner({
    tree: { look: neverCalled, open: () => (async function* () {})() },
    inspectionStore,
    inspector: { inspect: neverCalled },
    observer: { inspected: (...call) => void counted.push(call), metadataRejected: () => undefined },
    algorithms: ["sha256"],
    limits: defaultInspectLimits,
  });
  const aFile = (name: string, content = new ContentId(name)) => ({
    path: parseTreePath(`dists/sid/main/binary-amd64/${name}.deb`),
    kind: "binary" as const,
    entry: { kind: "file" as const, sizeBytes: 7, content, linkedAtMs: 0, relinkedAtMs: 0, metadata: undefined },
  });
  const files = [aFile("a"), aFile("unknown"), aFile("b"), aFile("a-again", new ContentId("a"))];
  for (const name of ["a", "b"]) await inspectionStore.put(bytesKey("binary", new ContentId(name).key), inspection);
  const finding = findingOf(inspection);
  expect(examiner.storedFindings(files)).toEqual([finding, undefined, finding, finding]);
  expect(counted).toEqual([["store", 3]]);
  await inspectionStore.markUntrusted(new ContentId("a").key);
  expect(examiner.storedFindings(files)).toEqual([undefined, undefined, finding, undefined]);
  expect(counted).toEqual([
    ["store", 3],
    ["store", 1],
  ]);
});
