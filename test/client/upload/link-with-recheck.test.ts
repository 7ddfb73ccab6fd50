// Links in a directory that was empty until recently. The directory is a fake, because real gateways retry at random
// times and rarely reach the third retry.
import { afterAll, afterEach, beforeEach, expect, test, vi } from "vitest";
import { ContentId } from "../../../src/base/content-id.ts";
import type { Entry } from "../../../src/storage/tree.ts";

const { signal } = new AbortController();

// Use timers that the test can advance; node:timers/promises cannot be faked.
vi.resetModules();
vi.doMock(import("../../../src/base/abort.ts"), async (original) => ({
  ...(await original()),
  sleep: async (delayMs: number) => {
    await new Promise((resolve) => setTimeout(resolve, delayMs));
  },
}));
const { linkWithRecheck } = await import("../../../src/client/upload/link-with-recheck.ts");

afterAll(() => {
  vi.doUnmock("../../../src/base/abort.ts");
  vi.resetModules();
});

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

/** A fake directory, and an upload of one file into it. */
class FakeDirectory {
  readonly entries = new Map<string, Entry>();
  listings = 0;

  set(name: string): void {
    const now = Date.now();
    const times = { linkedAtMs: now, relinkedAtMs: now };
    this.entries.set(name, { kind: "file", sizeBytes: 1, content: new ContentId(name), metadata: undefined, ...times });
  }

  /** Simulates a gateway that read the directory when it was empty, and writes it only now. */
  overwrite(name: string): void {
    this.entries.clear();
    this.set(name);
  }

  async put(name: string): Promise<void> {
    const link = async () => {
      this.listings++;
      const before = new Map(this.entries);
      if (!before.has(name)) this.set(name);
      return { before, after: new Set(this.entries.keys()) };
    };
    await linkWithRecheck([{ link }], () => undefined, { clock: Date.now, signal });
  }
}

/** Runs an upload while events happen, each at a given second after the start. @returns the duration in seconds */
async function duringEvents(upload: Promise<void>, events: ReadonlyMap<number, () => void>): Promise<number> {
  const startedMs = Date.now();
  for (const [second, event] of events) setTimeout(event, second * 1_000);
  let endedMs = Number.NaN;
  const ends = upload.then(() => {
    endedMs = Date.now();
  });
  await vi.advanceTimersByTimeAsync(60_000);
  await ends;
  return (endedMs - startedMs) / 1_000;
}

test("links in a directory with old entries are not checked again", async () => {
  const directory = new FakeDirectory();
  directory.set("old");
  vi.advanceTimersByTime(12_000);
  expect(await duringEvents(directory.put("ours"), new Map())).toBe(0);
});

test("the first links are checked again after five seconds", async () => {
  const directory = new FakeDirectory();
  expect(await duringEvents(directory.put("ours"), new Map())).toBe(5);
  expect(directory.listings).toBe(2);
});

test.each([
  ["the first retry", [2.7]],
  ["the first and the second retry", [2.7, 10.1]],
  ["all three retries", [2.7, 10.1, 30.2]],
])("links that another gateway overwrites in %s are set again", async (_, retries) => {
  const directory = new FakeDirectory();
  await duringEvents(
    directory.put("ours"),
    new Map(retries.map((second, retry) => [second, () => directory.overwrite(`theirs-${retry}`)])),
  );
  expect([...directory.entries.keys()]).toContain("ours");
});

test("links that follow another upload's first links are checked too: a third one may overwrite both", async () => {
  const directory = new FakeDirectory();
  directory.set("first");
  vi.advanceTimersByTime(1_000);
  await duringEvents(directory.put("ours"), new Map([[1.7, () => directory.overwrite("third")]]));
  expect([...directory.entries.keys()]).toContain("ours");
});
