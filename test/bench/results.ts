// RESULTS.md: one table, and what it was measured with.
import type { Surroundings } from "./machine.ts";
import type { Goal, Row, Unit } from "./rows.ts";
import { digits, figure, isReached, median, ratioOf } from "./rows.ts";

export interface Results {
  readonly surroundings: Surroundings;
  readonly rows: readonly Row[];
  /** What was left out, and why. */
  readonly notes: readonly string[];
  readonly tookSeconds: number;
}

const maxColumns = 120;

export function renderResults({ surroundings, rows, notes, tookSeconds }: Results): string {
  const { cpu, cores, memoryBytes, kernel, loadBefore, commit, command, at, versions } = surroundings;
  const counted = rows.filter((row) => isReached(row) !== undefined);
  const reached = counted.filter(isReached).length;
  const seconds = Math.round(tookSeconds);
  return `${[
    "# What `npm run bench` measured",
    "",
    `\`${command}\` at commit ${commit}, ${at}, in ${seconds} s: ${reached} of ${counted.length} goals reached.`,
    "Figures are medians, with the smallest and the largest sample behind them.",
    "",
    `- Machine: ${cpu}, ${cores} cores, ${figure(memoryBytes, "bytes")} of memory, Linux ${kernel}`,
    `- Load before the start (1, 5 and 15 minutes): ${loadBefore.map(digits).join(", ")}`,
    ...wrapped(`- Versions: ${versions.join(", ")}`),
    "",
    ...renderTable(rows),
    "",
    ...notes.flatMap((note) => wrapped(`- ${note}`)),
  ].join("\n")}\n`;
}

/** A list's item in lines of a document's width. */
function wrapped(item: string): string[] {
  const lines: string[] = [];
  for (const word of item.split(/\s+/)) {
    const longer = `${lines.at(-1) ?? ""} ${word}`;
    if (lines.length > 0 && longer.length <= maxColumns) lines[lines.length - 1] = longer;
    else lines.push(lines.length === 0 ? word : `  ${word}`);
  }
  return lines;
}

/** The lines of the table. */
export function renderTable(rows: readonly Row[]): string[] {
  const header = ["measure", "ours", "against", "theirs", "ratio", "goal", "reached"];
  const lines = rows.map((row) => {
    const { measure, unit, ours, against, goal } = row;
    const ratio = ratioOf(row);
    const verdict = isReached(row);
    return [
      measure,
      spread(ours, unit),
      against?.name ?? "",
      against === undefined ? "" : spread(against.samples, unit),
      ratio === undefined ? "" : `${digits(ratio)}${goal?.kind === "times-faster" ? "× faster" : "×"}`,
      goal === undefined ? "" : goalText(goal, unit),
      verdict === undefined ? "–" : verdict ? "yes" : "**no**",
    ];
  });
  return [header, header.map(() => "---"), ...lines].map((cells) => `| ${cells.join(" | ")} |`);
}

function spread(samples: readonly number[], unit: Unit): string {
  const middle = figure(median(samples), unit);
  if (samples.length === 1) return middle;
  return `${middle} (${figure(Math.min(...samples), unit)} – ${figure(Math.max(...samples), unit)})`;
}

function goalText(goal: Goal, unit: Unit): string {
  switch (goal.kind) {
    case "times-faster":
      return `≥ ${goal.factor}× faster`;
    case "at-most-times":
      return `≤ ${goal.factor}×`;
    case "at-least-times":
      return `≥ ${goal.factor}×`;
    case "below":
      return `< ${figure(goal.value, unit)}`;
    default:
      return goal satisfies never;
  }
}
