// Directories that a test may fill.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, onTestFinished } from "vitest";

/** An empty directory, which is removed when the test has finished. @param name what its name begins with */
export function temporaryDirectory(name: string): string {
  const directory = mkdtempSync(join(tmpdir(), `${name}-`));
  onTestFinished(() => removed(directory));
  return directory;
}

/** An empty directory for all tests of a file, which is removed when these have finished. */
export function temporaryDirectoryOfFile(name: string): string {
  const directory = mkdtempSync(join(tmpdir(), `${name}-`));
  afterAll(() => removed(directory));
  return directory;
}

// Something in this process may still be writing there.
const removed = (directory: string): void => rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
