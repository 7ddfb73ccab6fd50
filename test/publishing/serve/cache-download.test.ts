// One download into the package cache, and the influence of its readers.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { CacheDownloadOutcome } from "../../../src/publishing/serve/cache-download.ts";
import { CacheDownload, downloadWindowBytes } from "../../../src/publishing/serve/cache-download.ts";
import { aDirectory, never, Source, someBytes } from "../../support/package-source.ts";
import { onceUnchanged } from "../../support/unchanged.ts";

const startDownload = (source: Source, readerWaitMs: number) => {
  const directory = aDirectory();
  const paths = { temporary: join(directory, "it.part"), final: join(directory, "it") };
  let download: CacheDownload | undefined;
  const outcome = new Promise<CacheDownloadOutcome>((resolve) => {
    download = new CacheDownload(source.expected, paths, resolve, readerWaitMs);
  });
  return { download: download as unknown as CacheDownload, outcome, final: paths.final };
};

test("a very slow reader delays the source only for a limited time", async () => {
  const bytes = someBytes(downloadWindowBytes * 2);
  const { download, outcome, final } = startDownload(new Source(bytes), 100);
  const reader = download.read({ start: 0 }, never());
  await reader.next();
  expect(await outcome).toEqual({ kind: "cached" });
  expect(readFileSync(final).equals(bytes)).toBe(true);
  await reader.return();
});

test("a download waits for its reader within the limit", async () => {
  const source = new Source(someBytes(downloadWindowBytes * 2));
  const { download, outcome } = startDownload(source, 60_000);
  const reader = download.read({ start: 0 }, never());
  await reader.next();
  expect(await onceUnchanged(() => source.givenBytes)).toBeLessThan(downloadWindowBytes * 1.5);
  await reader.return();
  expect(await outcome).toMatchObject({ kind: "failed" });
});
