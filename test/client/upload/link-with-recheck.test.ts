// Links that are set in a directory which was empty a moment ago. The directory is a fake: real gateways lose a race
// after random times, and the third round of one is rarely seen.
import { afterAll, afterEach, beforeEach, expect, test, vi } from "vitest";
import { ContentId } from "../../../src/base/content-id.ts";
import type { Entry } from "../../../src/storage/tree.ts";

const { signal } = new AbortController();

// Timers that the test moves on; those of node:timers/promises can't be.
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

/** A directory, and who puts one file into it. */
class Place {
  readonly entries = new Map<string, Entry>();
  looks = 0;

  set(name: string): void {
    const now = Date.now();
    const times = { linkedAtMs: now, relinkedAtMs: now };
    this.entries.set(name, { kind: "file", sizeBytes: 1, content: new ContentId(name), metadata: undefined, ...times });
  }

  /** A gateway that read the directory while it was empty, and got to write only now. */
  overwrite(name: string): void {
    this.entries.clear();
    this.set(name);
  }

  async put(name: string): Promise<void> {
    const link = async () => {
      this.looks++;
      const found = new Map(this.entries);
      if (!found.has(name)) this.set(name);
      return { found, left: new Set(this.entries.keys()) };
    };
    await linkWithRecheck([{ link }], () => undefined, { clock: Date.now, signal });
  }
}

/** Has an upload end while other things happen, each so many seconds after its start. */
async function meanwhile(upload: Promise<void>, events: ReadonlyMap<number, () => void>): Promise<number> {
  const begunMs = Date.now();
  for (const [second, happen] of events) setTimeout(happen, second * 1_000);
  let endedMs = Number.NaN;
  const ends = upload.then(() => {
    endedMs = Date.now();
  });
  await vi.advanceTimersByTimeAsync(60_000);
  await ends;
  return (endedMs - begunMs) / 1_000;
}

test("links in a directory that has been used for a while are good at once", async () => {
  const place = new Place();
  place.set("old");
  vi.advanceTimersByTime(12_000);
  expect(await meanwhile(place.put("ours"), new Map())).toBe(0);
});

test("the first links are looked at once more, after five seconds", async () => {
  const place = new Place();
  expect(await meanwhile(place.put("ours"), new Map())).toBe(5);
  expect(place.looks).toBe(2);
});

test.each([
  ["the first round", [2.7]],
  ["the first and the second round", [2.7, 10.1]],
  ["all three rounds", [2.7, 10.1, 30.2]],
])("links lost to a gateway that gets to write in %s are set again", async (_, rounds) => {
  const place = new Place();
  await meanwhile(
    place.put("ours"),
    new Map(rounds.map((second, round) => [second, () => place.overwrite(`theirs-${round}`)])),
  );
  expect([...place.entries.keys()]).toContain("ours");
});

test("links that follow another's first ones are looked at too, since a third one may have found nothing there", async () => {
  const place = new Place();
  place.set("first");
  vi.advanceTimersByTime(1_000);
  await meanwhile(place.put("ours"), new Map([[1.7, () => place.overwrite("third")]]));
  expect([...place.entries.keys()]).toContain("ours");
});
