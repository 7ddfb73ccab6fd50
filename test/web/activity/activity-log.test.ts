// What happens to a repository is counted in intervals, survives a restart, and takes bounded room.
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { silentLog } from "../../../src/base/log.ts";
import type { Span } from "../../../src/web/activity/activity-log.ts";
import { ActivityLog } from "../../../src/web/activity/activity-log.ts";
import { newUploadsOf } from "../../../src/web/activity/new-uploads.ts";
import type { Upload } from "../../../src/web/data/repository-data.ts";

const { signal } = new AbortController();
const startMs = Date.parse("2026-11-29T12:00:00Z");

function aFile(): string {
  const directory = mkdtempSync(join(tmpdir(), "activity-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  return join(directory, "activity.json");
}

const sum = ({ samples }: Span, field: keyof Span["samples"][number]): number =>
  samples.reduce((total, each) => total + each[field], 0);

test("requests and pings are counted in the interval of their time", () => {
  let nowMs = startMs;
  const log = new ActivityLog({ file: aFile(), log: silentLog, now: () => nowMs });
  for (const request of ["index", "by-hash", "package", "page", "ping", "other"]) log.answered(request);
  nowMs += 3600_000;
  log.answered("index");
  log.pingLive(0.5);
  log.pingLive(2);
  const { day, month } = log.activity();
  expect(day.samples).toHaveLength(96);
  expect(month.samples).toHaveLength(120);
  expect(day.samples.at(-5)).toMatchObject({ indices: 2, packages: 1, pages: 1, pings: 0 });
  expect(day.samples.at(-1)).toMatchObject({ indices: 1, pings: 2, pingSeconds: 2.5, slowestPingSeconds: 2 });
  expect(month.samples.at(-1)).toMatchObject({ indices: 3, pings: 2 });
});

test("everything survives a restart", async () => {
  const file = aFile();
  const options = { file, log: silentLog, now: () => startMs };
  const first = new ActivityLog(options);
  first.answered("package");
  first.pingLive(1);
  await first.stop();
  expect(new ActivityLog(options).activity()).toEqual(first.activity());
});

test("a file that cannot be read is ignored and replaced", async () => {
  const file = aFile();
  for (const text of ["not JSON", '{"day":[{"startSeconds":-1}],"month":[]}', "[]"]) {
    writeFileSync(file, text);
    const log = new ActivityLog({ file, log: silentLog, now: () => startMs });
    expect(sum(log.activity().day, "packages")).toBe(0);
    log.answered("package");
    await log.stop();
    expect(sum(new ActivityLog({ file, log: silentLog, now: () => startMs }).activity().day, "packages")).toBe(1);
  }
});

test("after a year of requests the file has samples of a month only", async () => {
  let nowMs = startMs;
  const file = aFile();
  const log = new ActivityLog({ file, log: silentLog, now: () => nowMs });
  for (let hours = 0; hours < 365 * 24; hours += 1) {
    log.answered("index");
    log.pingLive(1);
    nowMs += 3600_000;
  }
  await log.stop();
  expect(sum(log.activity().month, "indices")).toBeLessThanOrEqual(30 * 24);
  expect(sum(log.activity().day, "indices")).toBeLessThanOrEqual(24);
  expect(statSync(file).size).toBeLessThan(50_000);
  const { month } = JSON.parse(readFileSync(file, "utf8")) as { readonly month: readonly unknown[] };
  expect(month.length).toBeLessThanOrEqual(120);
});

const upload = (uploadedSeconds: number): Upload => ({
  name: "it",
  isSource: false,
  suite: "sid",
  component: "main",
  version: "1",
  architecture: "all",
  description: "",
  uploadedSeconds,
  builder: undefined,
  sizeBytes: 1,
  sha256: "",
});

/** A repository with uploads, two on a page, that counts the queries. */
function someUploads(times: number[], isIndexing = () => false) {
  let queries = 0;
  return {
    queries: () => queries,
    stateId: () => times.join(),
    isIndexing: () => isIndexing(),
    uploads: async ({ cursor = "0" }: { readonly cursor?: string | undefined }) => {
      queries += 1;
      const sorted = times.toSorted((a, b) => b - a);
      const from = Number(cursor);
      const next = from + 2 < sorted.length ? String(from + 2) : undefined;
      return { entries: sorted.slice(from, from + 2).map(upload), total: sorted.length, next };
    },
  };
}

test("each upload is counted once, at the time of its link, also those before the first start", async () => {
  const nowSeconds = startMs / 1000;
  const times = [nowSeconds - 40 * 86_400, nowSeconds - 10 * 86_400, nowSeconds - 100, nowSeconds - 50];
  const data = someUploads(times);
  const log = new ActivityLog({ file: aFile(), log: silentLog, now: () => startMs });
  log.countUploads(newUploadsOf(data));
  await log.count(signal);
  expect(sum(log.activity().day, "uploads")).toBe(2);
  expect(sum(log.activity().month, "uploads")).toBe(3);
  times.push(nowSeconds - 10);
  await log.count(signal);
  await log.count(signal);
  expect(sum(log.activity().month, "uploads")).toBe(4);
  await log.stop();
});

test("nothing is queried while the repository has not changed", async () => {
  const data = someUploads([startMs / 1000 - 10]);
  const uploadsSince = newUploadsOf(data);
  await uploadsSince(0, signal);
  const before = data.queries();
  expect(await uploadsSince(0, signal)).toEqual([]);
  expect(data.queries()).toBe(before);
});

test("uploads are not counted before the index of packages is complete", async () => {
  let isIndexing = true;
  const uploadsSince = newUploadsOf(someUploads([5, 6], () => isIndexing));
  expect(await uploadsSince(0, signal)).toEqual([]);
  isIndexing = false;
  expect(await uploadsSince(0, signal)).toEqual([6, 5]);
});

test("an upload from the future is not counted", async () => {
  const log = new ActivityLog({ file: aFile(), log: silentLog, now: () => startMs });
  log.countUploads(async () => [startMs / 1000 + 3600]);
  await log.count(signal);
  expect(sum(log.activity().month, "uploads")).toBe(0);
  await log.stop();
});
