// Keeps in Valkey what this server knows of the files of its tree: also after Valkey was away, or has lost everything.
import { forEachConcurrent } from "../base/for-each-concurrent.ts";
import { repeat } from "../base/repeat.ts";
import { SerialQueue } from "../base/serial-queue.ts";
import { yieldToEventLoop } from "../base/yield-to-event-loop.ts";
import type { LocalInspection, LocalInspections } from "../catalog/local-inspections.ts";
import type { FleetInspections } from "./inspections.ts";
import type { UntrustedMarks } from "./untrusted-marks.ts";

/** How many inspections are on their way to Valkey at once: waiting for each would take minutes for a large tree. */
const concurrentAdditions = 16;
/** How many inspections one command renews. */
const perCommand = 200;

const dailyMs = 24 * 60 * 60 * 1000;
const afterFailureMs = 60_000;

export interface InspectionSweepOptions {
  readonly inspections: FleetInspections;
  readonly marks: UntrustedMarks;
  readonly local: LocalInspections;
  readonly signal: AbortSignal;
}

/** Stores what Valkey lacks, and renews the rest. */
export class InspectionSweep {
  readonly #options: InspectionSweepOptions;
  readonly #yieldNow = yieldToEventLoop();
  readonly #queue = new SerialQueue();

  constructor(options: InspectionSweepOptions) {
    this.#options = options;
  }

  /** Sweeps once a day. Call `run` once the tree was seen, and after each connection to Valkey. */
  start(): void {
    const daily = async () => ((await this.run().catch(() => undefined)) === undefined ? afterFailureMs : dailyMs);
    void repeat(daily, { firstDelayMs: dailyMs * (0.5 + Math.random() / 2), signal: this.#options.signal });
  }

  /** @returns how many inspections Valkey lacked @throws ValkeyUnavailable */
  async run(): Promise<number> {
    return await this.#queue.run(() => this.#run());
  }

  async #run(): Promise<number> {
    const { inspections, marks, local, signal } = this.#options;
    const all: LocalInspection[] = [];
    for (const each of local.inspections()) {
      all.push(each);
      await this.#yieldNow();
    }
    // Servers that start at the same time begin at different places, so that each stores a part.
    const from = Math.floor(Math.random() * all.length);
    let added = 0;
    for (let at = 0; at < all.length && !signal.aborted; at += perCommand) {
      const batch = Array.from(
        { length: Math.min(perCommand, all.length - at) },
        (_, n) => all[(from + at + n) % all.length],
      ).filter((each) => each !== undefined);
      const missing = new Set(await inspections.renew(batch.map(({ key }) => key)));
      const lacking = batch.filter(({ key }) => missing.has(key));
      await forEachConcurrent(lacking, concurrentAdditions, async ({ key, load }) => {
        const inspection = load();
        if (inspection === undefined) return;
        await inspections.add(key, inspection);
        added += 1;
      });
      await this.#yieldNow();
    }
    await marks.addMissing([...local.marks()]);
    return added;
  }
}
