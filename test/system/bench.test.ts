// A short run of the benchmark succeeds.
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { BenchContext } from "../bench/bench-context.ts";
import { append } from "../bench/measures/append.ts";
import { contents } from "../bench/measures/contents.ts";
import { firstIndex } from "../bench/measures/first-index.ts";
import { memory } from "../bench/measures/memory.ts";
import { replace } from "../bench/measures/replace.ts";
import { restart } from "../bench/measures/restart.ts";
import { search } from "../bench/measures/search.ts";
import type { Row } from "../bench/rows.ts";
import { median } from "../bench/rows.ts";
import { projectRoot } from "../support/project-files.ts";

/** It starts several servers and waits until each of them is idle. */
const tinyRunTimeoutMs = 240_000;

test(
  "a short run without competitors measures every case of a folder and leaves only its corpora behind",
  async () => {
    const corpora = mkdtempSync(join(tmpdir(), "tahoe-apt-bench-"));
    onTestFinished(() => rmSync(corpora, { recursive: true }));
    const bench = new BenchContext({
      scale: { small: 10, middle: 10, large: 50, grid: 0, listed: 0, rounds: 1, slowRounds: 1, loadSeconds: 1 },
      corpora,
      projectRoot,
      tahoeDirectory: "",
      withPeers: false,
      progress: () => {},
      signal: AbortSignal.timeout(tinyRunTimeoutMs),
    });
    const rows: Row[] = [];
    try {
      for (const measure of [firstIndex, contents, append, replace, restart, memory, search])
        rows.push(...(await measure.measure(bench)));
    } finally {
      await bench.close();
    }
    expect(rows.map(({ measure }) => measure)).toContain("append to 50, ping names the directory");
    for (const { measure, ours } of rows) expect(median(ours), measure).toBeGreaterThan(0);
    expect(readdirSync(corpora).toSorted()).toEqual(["corpus-10", "corpus-50", "lifelike-10", "signing-key.asc"]);
    expect(existsSync(bench.scratch)).toBe(false);
  },
  tinyRunTimeoutMs,
);
