// Runs chaos in a directory of its own, which is kept if there are violations.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Findings } from "./findings.ts";

interface Run {
  readonly findings: Findings;
  go(): Promise<void>;
  end(): Promise<void>;
  rows(): readonly (readonly [what: string, count: number | string])[];
}

export interface RunResult {
  readonly findings: Findings;
  /** The directory with the logs; it is kept if there are violations. */
  readonly work: string;
  readonly rows: ReturnType<Run["rows"]>;
}

/** @param name of the directory @param prepare begins the run in the directory */
export async function runInWork(name: string, prepare: (work: string) => Promise<Run>): Promise<RunResult> {
  const work = mkdtempSync(join(tmpdir(), `tahoe-apt-${name}-`));
  const run = await prepare(work);
  try {
    await run.go();
  } finally {
    await run.end();
  }
  if (run.findings.violations.length === 0) rmSync(work, { recursive: true, force: true });
  return { findings: run.findings, work, rows: run.rows() };
}
