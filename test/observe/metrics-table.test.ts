// docs/guide-monitoring.md has a table of all metrics, with types, labels and explanations as they are in the code.
import { expect, test } from "vitest";
import { parseRepositoryName } from "../../src/base/names.ts";
import { createMetrics } from "../../src/observe/metrics.ts";
import { observeEverything } from "../support/observed-everything.ts";
import { readProjectFile } from "../support/project-files.ts";

/** A row of the table for each metric of ours in a scrape, sorted by name. */
function rowsOf(scrape: string): readonly string[] {
  const rows = [...scrape.matchAll(/^# HELP (tahoe_apt_\w+) (.+)\n# TYPE \w+ (\w+)\n(.*)$/gm)].map(
    ([, name = "", help = "", type = "", sample = ""]) => {
      const labels = [...sample.matchAll(/[{,](\w+)="/g)]
        .map(([, label = ""]) => label)
        .filter((label) => label !== "le");
      return `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(", ")} | ${help} |`;
    },
  );
  return rows.toSorted();
}

test("the guide's table of metrics is that of the code", async () => {
  const metrics = createMetrics(() => 1_000_000);
  observeEverything(metrics, parseRepositoryName("debian"));
  const rows = rowsOf(await metrics.render());
  expect(rows.length).toBeGreaterThan(40);
  expect(rows.filter((row) => /\| {2}\|/.test(row)).length, "most metrics have labels").toBeLessThan(rows.length / 2);
  const inGuide = readProjectFile("docs/guide-monitoring.md").match(/^\| `tahoe_apt_.*$/gm);
  expect(inGuide).toEqual(rows);
});
