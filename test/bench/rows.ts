// What one measure came to, beside what it is held against, and whether its goal was reached.

/** What a figure counts. */
export type Unit = "seconds" | "bytes" | "requests/s";

/** What is asked of our figure: against the other one, or, where there is none, by itself. */
export type Goal =
  | { readonly kind: "times-faster"; readonly factor: number }
  | { readonly kind: "at-most-times"; readonly factor: number }
  | { readonly kind: "at-least-times"; readonly factor: number }
  | { readonly kind: "below"; readonly value: number };

export interface Row {
  readonly measure: string;
  readonly unit: Unit;
  /** Every sample that was taken, in order; the figure is their median. */
  readonly ours: readonly number[];
  readonly against?: Against;
  /** Without one the row is there to be known. */
  readonly goal?: Goal;
}

export interface Against {
  readonly name: string;
  readonly samples: readonly number[];
}

/** The middle sample; of an even number the mean of the two in the middle. @throws RangeError if there is none */
export function median(samples: readonly number[]): number {
  const sorted = samples.toSorted((a, b) => a - b);
  const upper = sorted[sorted.length >> 1];
  const lower = sorted[(sorted.length - 1) >> 1];
  if (upper === undefined || lower === undefined) throw new RangeError("there is no median of nothing");
  return (lower + upper) / 2;
}

/** How many times faster we are, for that kind of goal; else our figure divided by the other. */
export function ratioOf({ ours, against, goal }: Row): number | undefined {
  if (against === undefined) return undefined;
  const ratio = median(ours) / median(against.samples);
  return goal?.kind === "times-faster" ? 1 / ratio : ratio;
}

/** Undefined where nothing was asked, or where what it is held against is missing. */
export function isReached(row: Row): boolean | undefined {
  const { goal } = row;
  if (goal === undefined) return undefined;
  if (goal.kind === "below") return median(row.ours) < goal.value;
  const ratio = ratioOf(row);
  if (ratio === undefined) return undefined;
  return goal.kind === "at-most-times" ? ratio <= goal.factor : ratio >= goal.factor;
}

/** A figure for people, with three significant digits. */
export function figure(value: number, unit: Unit): string {
  switch (unit) {
    case "seconds":
      return value < 1 ? `${digits(value * 1000)} ms` : `${digits(value)} s`;
    case "bytes":
      if (value >= 1e9) return `${digits(value / 1e9)} GB`;
      return value < 1e6 ? `${digits(value / 1e3)} kB` : `${digits(value / 1e6)} MB`;
    case "requests/s":
      return `${digits(value)}/s`;
    default:
      return unit satisfies never;
  }
}

/** Fixed notation: 0.0123, 1.23, 123, 12345. */
export function digits(value: number): string {
  const wanted = value === 0 ? 0 : 2 - Math.floor(Math.log10(Math.abs(value)));
  return value.toFixed(Math.min(Math.max(wanted, 0), 6));
}
