// Counts the requests, uploads and pings of a repository in intervals of the last day and month, in a file of bounded
// size in the state directory.
import { readFileSync } from "node:fs";
import { z } from "zod";
import type { Clock } from "../../base/clock.ts";
import { messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { repeat } from "../../base/repeat.ts";
import { replaceFile } from "../../base/replace-file.ts";

const amount = z.number().nonnegative();
const sample = z.object({
  /** The start of the interval, in seconds since the epoch. */
  startSeconds: amount,
  /** Requests for indices (Release and by-hash too), packages and pages. */
  indices: amount,
  packages: amount,
  pages: amount,
  /** Packages and source packages that were linked in the interval. */
  uploads: amount,
  /** Pings that were answered, the sum of their durations, and the longest. */
  pings: amount,
  pingSeconds: amount,
  slowestPingSeconds: amount,
});

/** The counts of one interval. */
export type Sample = Readonly<z.infer<typeof sample>>;
type Mutable = z.infer<typeof sample>;

/** The samples of a span, the oldest first; there is one for each interval, also if nothing happened. */
export interface Span {
  readonly intervalSeconds: number;
  readonly samples: readonly Sample[];
}

export interface Activity {
  readonly day: Span;
  readonly month: Span;
}

/** 96 and 120 intervals. */
const spans = {
  day: { intervalSeconds: 900, lengthSeconds: 86_400 },
  month: { intervalSeconds: 6 * 3600, lengthSeconds: 30 * 86_400 },
} as const;

/** How often new uploads are counted, in ms. */
const countMs = 15_000;
const firstCountMs = 5000;
/** How often the file is written: a kill loses at most this much. */
const countsPerWrite = 20;

const stored = z.object({
  /** Uploads up to this time are counted, in seconds since the epoch. */
  uploadsCountedSeconds: amount,
  day: z.array(sample).max(1000),
  month: z.array(sample).max(1000),
});

interface ActivityLogOptions {
  /** The path of the file. */
  readonly file: string;
  readonly log: Log;
  readonly now: Clock;
}

/** Returns the times of uploads after a time, in seconds since the epoch; not too many of them. */
export type UploadsSince = (afterSeconds: number, signal: AbortSignal) => Promise<readonly number[]>;

/** Where requests are counted, by their classes. */
const requestFields: ReadonlyMap<string, "indices" | "packages" | "pages"> = new Map([
  ["index", "indices"],
  ["by-hash", "indices"],
  ["package", "packages"],
  ["page", "pages"],
]);

export class ActivityLog {
  readonly #options: ActivityLogOptions;
  readonly #samples = { day: new Map<number, Mutable>(), month: new Map<number, Mutable>() };
  /** Where requests of a part of both spans are counted: an interval of the month contains whole ones of the day. */
  #current: { readonly fromSeconds: number; readonly untilSeconds: number; readonly samples: readonly Mutable[] } = {
    fromSeconds: 0,
    untilSeconds: 0,
    samples: [],
  };
  readonly #stopping = new AbortController();
  #uploadsCountedSeconds: number;
  #uploadsSince: UploadsSince = async () => [];
  #counting: Promise<void> | undefined;
  #countsUntilWrite = countsPerWrite;

  /** Reads the file. One that cannot be read is ignored: these numbers are for people to look at. */
  constructor(options: ActivityLogOptions) {
    this.#options = options;
    this.#uploadsCountedSeconds = options.now() / 1000 - spans.month.lengthSeconds;
    try {
      this.#restore(stored.parse(JSON.parse(readFileSync(options.file, "utf8"))));
    } catch {
      // There is none yet, or it is of another version.
    }
  }

  /**
   * Counts uploads and writes the file periodically from now on.
   * @param uploadsSince replaces that of an earlier call
   */
  countUploads(uploadsSince: UploadsSince): void {
    this.#uploadsSince = uploadsSince;
    this.#counting ??= repeat(
      async () => {
        await this.count(this.#stopping.signal);
        if (--this.#countsUntilWrite <= 0) await this.#write();
        return countMs;
      },
      { firstDelayMs: firstCountMs, signal: this.#stopping.signal },
    );
  }

  /** Writes the file. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error("the server stops"));
    await this.#counting;
    await this.#write();
  }

  /** @param request its class, as for the metrics; others than for files and pages are not recorded */
  answered(request: string, count = 1): void {
    const field = requestFields.get(request);
    if (field === undefined) return;
    const nowSeconds = this.#options.now() / 1000;
    // Nothing is looked up or created for most requests.
    if (nowSeconds < this.#current.fromSeconds || nowSeconds >= this.#current.untilSeconds) {
      const { intervalSeconds } = spans.day;
      const fromSeconds = Math.floor(nowSeconds / intervalSeconds) * intervalSeconds;
      const samples = [this.#sampleAt("day", nowSeconds), this.#sampleAt("month", nowSeconds)];
      this.#current = { fromSeconds, untilSeconds: fromSeconds + intervalSeconds, samples };
    }
    for (const each of this.#current.samples) each[field] += count;
  }

  /** @param seconds the time until the changes of the ping were published */
  pingLive(seconds: number): void {
    this.#add((each) => {
      each.pings += 1;
      each.pingSeconds += seconds;
      each.slowestPingSeconds = Math.max(each.slowestPingSeconds, seconds);
    });
  }

  /** Counts the uploads since the last time. A failure is logged. */
  async count(signal: AbortSignal): Promise<void> {
    const { log, now } = this.#options;
    const nowSeconds = now() / 1000;
    try {
      let newest = this.#uploadsCountedSeconds;
      for (const seconds of await this.#uploadsSince(this.#uploadsCountedSeconds, signal)) {
        // The clock of an uploader may be wrong.
        if (seconds <= this.#uploadsCountedSeconds || seconds > nowSeconds) continue;
        newest = Math.max(newest, seconds);
        this.#add((each) => {
          each.uploads += 1;
        }, seconds);
      }
      this.#uploadsCountedSeconds = newest;
    } catch (thrown) {
      if (!signal.aborted) log.warn({ error: messageOf(thrown) }, "uploads could not be counted");
    }
  }

  /** Returns the counts up to now. */
  activity(): Activity {
    const span = (name: keyof typeof spans): Span => {
      const { intervalSeconds, lengthSeconds } = spans[name];
      const last = Math.floor(this.#options.now() / 1000 / intervalSeconds) * intervalSeconds;
      const number = lengthSeconds / intervalSeconds;
      const starts = Array.from({ length: number }, (_, at) => last - (number - 1 - at) * intervalSeconds);
      return { intervalSeconds, samples: starts.map((start) => this.#samples[name].get(start) ?? emptySample(start)) };
    };
    return { day: span("day"), month: span("month") };
  }

  #add(change: (each: Mutable) => void, atSeconds = this.#options.now() / 1000): void {
    for (const name of ["day", "month"] as const) change(this.#sampleAt(name, atSeconds));
  }

  #sampleAt(name: keyof typeof spans, atSeconds: number): Mutable {
    const { intervalSeconds, lengthSeconds } = spans[name];
    const start = Math.floor(atSeconds / intervalSeconds) * intervalSeconds;
    const samples = this.#samples[name];
    const known = samples.get(start);
    if (known !== undefined) return known;
    const created = emptySample(start);
    samples.set(start, created);
    const oldest = this.#options.now() / 1000 - lengthSeconds - intervalSeconds;
    for (const old of samples.keys()) if (old < oldest) samples.delete(old);
    return created;
  }

  #restore({ uploadsCountedSeconds, day, month }: z.infer<typeof stored>): void {
    this.#uploadsCountedSeconds = Math.max(this.#uploadsCountedSeconds, uploadsCountedSeconds);
    for (const each of day) this.#samples.day.set(each.startSeconds, each);
    for (const each of month) this.#samples.month.set(each.startSeconds, each);
  }

  async #write(): Promise<void> {
    this.#countsUntilWrite = countsPerWrite;
    const { file, log } = this.#options;
    const { day, month } = this.activity();
    const happened = (samples: readonly Sample[]) => samples.filter((each) => !isEmpty(each));
    const text = JSON.stringify({
      uploadsCountedSeconds: this.#uploadsCountedSeconds,
      day: happened(day.samples),
      month: happened(month.samples),
    });
    try {
      await replaceFile(file, text);
    } catch (thrown) {
      log.warn({ error: messageOf(thrown) }, "the activity of the repository could not be written");
    }
  }
}

const emptySample = (startSeconds: number): Mutable => ({
  startSeconds,
  indices: 0,
  packages: 0,
  pages: 0,
  uploads: 0,
  pings: 0,
  pingSeconds: 0,
  slowestPingSeconds: 0,
});

const isEmpty = ({ indices, packages, pages, uploads, pings }: Sample): boolean =>
  indices + packages + pages + uploads + pings === 0;
