// Without a decoder, the message says what to install, and differs from that for a broken package.
import { afterAll, expect, test, vi } from "vitest";
import { defaultInspectLimits } from "../../src/catalog/inspection/inspect-limits.ts";
import { aDeb, inChunks } from "../support/debs.ts";

vi.resetModules();
vi.doMock("node:child_process", async (importOriginal) => {
  const real = await importOriginal<typeof import("node:child_process")>();
  return {
    ...real,
    spawn: (...[command, ...more]: Parameters<typeof real.spawn>) => real.spawn(`/missing/${command}`, ...more),
  };
});
const { inspectContent } = await import("../../src/catalog/inspection/inspect.ts");

afterAll(() => {
  vi.doUnmock("node:child_process");
  vi.resetModules();
});

test("without zstd a .zst package is a rejection that names the Debian package to install", async () => {
  const deb = await aDeb({ compression: "zst" });
  const options = { limits: defaultInspectLimits, algorithms: [] };
  expect(await inspectContent("binary", inChunks(deb), options)).toEqual({
    kind: "rejected",
    code: "unsupported-compression",
    text: "this server lacks zstd to read it: install the Debian package zstd",
  });
  expect(await inspectContent("binary", inChunks(await aDeb()), options)).toMatchObject({ kind: "binary" });
});
