// Tests of how the database of the state directory is closed.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { closeStateDatabase, openStateDatabase } from "../../../src/publishing/store/state-database.ts";

test("reading while the database is being closed does not end the process", async () => {
  const directory = mkdtempSync(join(tmpdir(), "tahoe-apt-state-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const thrown: unknown[] = [];
  const note = (error: unknown): void => void thrown.push(error);
  process.on("uncaughtException", note);
  onTestFinished(() => void process.off("uncaughtException", note));
  const root = openStateDatabase(join(directory, "db"));
  for (let n = 0; n < 100; n++) void root.put(`key ${n}`, Buffer.alloc(100_000));
  const closed = closeStateDatabase(root);
  let reads = 0;
  const read = async (): Promise<void> => {
    while (root.get("key 1") !== 0) {
      reads += 1;
      await setImmediate();
    }
  };
  await Promise.all([closed, expect(read()).rejects.toThrow(/closed/)]);
  await setImmediate();
  expect(reads).toBeGreaterThan(0);
  expect(thrown).toEqual([]);
});
