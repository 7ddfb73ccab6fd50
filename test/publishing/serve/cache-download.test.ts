// One fill of the package cache: what its readers may do to it.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { CacheDownloadOutcome } from "../../../src/publishing/serve/cache-download.ts";
import { CacheDownload, downloadWindowBytes } from "../../../src/publishing/serve/cache-download.ts";
import { aDirectory, never, Source, someBytes } from "../../support/package-source.ts";
import { onceUnchanged } from "../../support/standing-still.ts";

const fillOf = (source: Source, patienceMs: number) => {
  const directory = aDirectory();
  const paths = { temporary: join(directory, "it.part"), final: join(directory, "it") };
  let fill: CacheDownload | undefined;
  const outcome = new Promise<CacheDownloadOutcome>((resolve) => {
    fill = new CacheDownload(source.expected, paths, resolve, patienceMs);
  });
  return { fill: fill as unknown as CacheDownload, outcome, final: paths.final };
};

test("a reader that takes next to nothing holds the source up for a while, and not for ever", async () => {
  const bytes = someBytes(downloadWindowBytes * 2);
  const { fill, outcome, final } = fillOf(new Source(bytes), 100);
  const reader = fill.read({ start: 0 }, never());
  await reader.next();
  expect(await outcome).toEqual({ kind: "cached" });
  expect(readFileSync(final).equals(bytes)).toBe(true);
  await reader.return();
});

test("a fill waits for its reader as long as it has patience", async () => {
  const source = new Source(someBytes(downloadWindowBytes * 2));
  const { fill, outcome } = fillOf(source, 60_000);
  const reader = fill.read({ start: 0 }, never());
  await reader.next();
  expect(await onceUnchanged(() => source.givenBytes)).toBeLessThan(downloadWindowBytes * 1.5);
  await reader.return();
  expect(await outcome).toMatchObject({ kind: "failed" });
});
