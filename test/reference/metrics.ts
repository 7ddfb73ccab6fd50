// The reference of metrics, from a scrape in which every metric has a value.
import { parseRepositoryName } from "../../src/base/names.ts";
import { createMetrics } from "../../src/observe/metrics.ts";
import { observeEverything } from "../support/observed-everything.ts";
import type { Page } from "./markdown.ts";
import { code, prose, table } from "./markdown.ts";

const intro = `
\`/metrics\` has them in Prometheus' text format. Times are in seconds since the epoch, durations in seconds, sizes in
bytes. No label contains a cap, a token or the name of a file. Deprecated metrics still work. The
[guide to monitoring](../guide-monitoring.md) says what to scrape, and what each alert means.
`;

const processIntro = `
These are the default metrics of prom-client for the process and for Node.js. The most useful is
\`nodejs_eventloop_lag_max_seconds\`, the longest time that requests had to wait since the last scrape.
`;

/** One metric in a scrape. */
export interface Metric {
  readonly name: string;
  readonly type: string;
  readonly labels: readonly string[];
  readonly help: string;
  /** Whether the scrape has a value of it. */
  readonly hasValue: boolean;
}

/** All metrics, sorted by name. */
export async function allMetrics(): Promise<readonly Metric[]> {
  const metrics = createMetrics(() => 1_000_000);
  observeEverything(metrics, parseRepositoryName("debian"));
  const scrape = await metrics.render();
  return [...scrape.matchAll(/^# HELP (\w+) (.+)\n# TYPE \w+ (\w+)\n(.*)$/gm)]
    .map(([, name = "", help = "", type = "", sample = ""]) => {
      const labels = [...sample.matchAll(/[{,](\w+)="/g)].map(([, label = ""]) => label);
      return { name, help, type, labels: labels.filter((label) => label !== "le"), hasValue: sample.startsWith(name) };
    })
    .toSorted((one, other) => (one.name < other.name ? -1 : 1));
}

const isOwn = ({ name }: Metric): boolean => name.startsWith("tahoe_apt_");

const rowOf = ({ name, type, labels, help }: Metric): readonly string[] => [
  code(name),
  type,
  labels.map(code).join(", "),
  help,
];

export async function metricsPage(): Promise<Page> {
  const all = await allMetrics();
  const columns = ["metric", "type", "labels", "meaning"];
  return {
    file: "metrics.md",
    title: "Metrics",
    contents: "every metric with its type and labels",
    madeFrom: "the metrics in src/observe/",
    body: [
      prose(intro),
      table(columns, all.filter(isOwn).map(rowOf)),
      "## Metrics of the process",
      prose(processIntro),
      // Their labels depend on what the process does at the moment.
      table(
        ["metric", "type", "meaning"],
        all.filter((one) => !isOwn(one)).map(({ name, type, help }) => [code(name), type, help]),
      ),
    ].join("\n\n"),
  };
}
