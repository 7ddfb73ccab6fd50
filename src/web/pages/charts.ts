// Draws charts as SVG: bars of two colours, and a line with the span up to the slowest.
import type { Span } from "../activity/activity-log.ts";
import { escapeHtml } from "../html/escape.ts";

const width = 480;
const height = 140;
const margin = { left: 44, right: 6, top: 8, bottom: 20 } as const;
const plotWidth = width - margin.left - margin.right;
const plotHeight = height - margin.top - margin.bottom;

interface ChartOptions {
  /** The text for screen readers. */
  readonly title: string;
  /** The text of a value beside the axis. */
  readonly unit: (value: number) => string;
}

/** A chart of stacked bars. @param values for each sample one value for each colour, at most two */
export function barChart(span: Span, values: readonly (readonly number[])[], options: ChartOptions): string {
  const top = roundedUp(Math.max(0, ...values.map((each) => each.reduce((sum, value) => sum + value, 0))));
  const step = plotWidth / Math.max(1, values.length);
  const bars = values.flatMap((each, at) => {
    let below = 0;
    return each.flatMap((value, which) => {
      if (value === 0) return [];
      const barHeight = (value / top) * plotHeight;
      const y = margin.top + plotHeight - below - barHeight;
      below += barHeight;
      const x = margin.left + at * step;
      return `<rect class="${which === 0 ? "one" : "two"}" x="${fixed(x)}" y="${fixed(y)}" width="${fixed(Math.max(1, step - 1))}" height="${fixed(barHeight)}"/>`;
    });
  });
  return svg(span, top, bars.join(""), options);
}

/** A point of a line chart: the mean and the greatest value of an interval; undefined if there is none. */
export type LinePoint = { readonly mean: number; readonly greatest: number } | undefined;

/** A chart of the mean values as dots, with a line from each up to the greatest value. */
export function dotChart(span: Span, points: readonly LinePoint[], options: ChartOptions): string {
  const top = roundedUp(Math.max(0, ...points.map((point) => point?.greatest ?? 0)));
  const step = plotWidth / Math.max(1, points.length);
  const yOf = (value: number) => fixed(margin.top + plotHeight * (1 - value / top));
  const dots = points.flatMap((point, at) => {
    if (point === undefined) return [];
    const x = fixed(margin.left + (at + 0.5) * step);
    const { mean, greatest } = point;
    return `<path class="span" d="M${x} ${yOf(mean)}V${yOf(greatest)}"/><circle class="dot" cx="${x}" cy="${yOf(mean)}" r="2.5"/>`;
  });
  return svg(span, top, dots.join(""), options);
}

function svg({ intervalSeconds, samples }: Span, top: number, plot: string, { title, unit }: ChartOptions): string {
  const bottom = margin.top + plotHeight;
  const grid = [0, 0.5, 1].map((share) => {
    const y = fixed(bottom - share * plotHeight);
    return `<path class="axis" d="M${margin.left} ${y}H${width - margin.right}"/><text x="${margin.left - 6}" y="${y}" dy=".32em" text-anchor="end">${escapeHtml(unit(top * share))}</text>`;
  });
  const labels = labelsOf(samples, intervalSeconds).map(
    ([at, text]) =>
      `<text x="${fixed(margin.left + (at / samples.length) * plotWidth)}" y="${height - 5}" text-anchor="middle">${text}</text>`,
  );
  return `<svg class="chart" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(title)}">${grid.join("")}${plot}${labels.join("")}</svg>`;
}

/** Some times on the axis: hours of a day, days of a month. @returns positions and texts */
function labelsOf(samples: Span["samples"], intervalSeconds: number): (readonly [number, string])[] {
  const isDay = intervalSeconds < 3600;
  const everySeconds = isDay ? 4 * 3600 : 5 * 86_400;
  return samples.flatMap(({ startSeconds }, at) => {
    const isNearEnd = at < samples.length * 0.02 || at > samples.length * 0.97;
    if (isNearEnd || startSeconds % everySeconds !== 0) return [];
    const iso = new Date(startSeconds * 1000).toISOString();
    return [[at, isDay ? iso.slice(11, 16) : iso.slice(5, 10)] as const];
  });
}

/** The next of 1, 2, 4, 6, 8 or 10 times a power of ten; 1 for 0. */
function roundedUp(value: number): number {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 4, 6, 8].find((factor) => value <= factor * power) ?? 10) * power;
}

const fixed = (value: number): string => String(Math.round(value * 10) / 10);
