// What must always hold, and what was found. One object for a whole run.
import { setTimeout as wait } from "node:timers/promises";

export interface Violation {
  readonly atSeconds: number;
  readonly invariant: string;
  readonly what: string;
  /** What was done to the server at that time. */
  readonly during: string;
}

/** The most violations that are kept; more say nothing new. */
const maxViolations = 30;

export class Findings {
  readonly violations: Violation[] = [];
  readonly counts = new Map<string, number>();
  /** What is done to the server now. */
  during = "the start";
  readonly #begunMs = performance.now();
  readonly #report: (line: string) => void;

  /** @param report receives a line for each violation, at once */
  constructor(report: (line: string) => void = () => undefined) {
    this.#report = report;
  }

  get seconds(): number {
    return (performance.now() - this.#begunMs) / 1000;
  }

  count(what: string, by = 1): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + by);
  }

  violated(invariant: string, what: string): void {
    this.count("violations");
    if (this.violations.length >= maxViolations) return;
    const violation = { atSeconds: Math.round(this.seconds), invariant, what, during: this.during };
    this.violations.push(violation);
    this.#report(`VIOLATION after ${violation.atSeconds} s, during ${violation.during}: ${invariant}: ${what}`);
  }
}

/** Waits, but not beyond the end of a run. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await wait(ms, undefined, { signal }).catch(() => undefined);
}
