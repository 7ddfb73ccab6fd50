// The alert rules: promtool's tests of them pass, cover each alert, and notice when one stops working.
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { blockOf } from "../support/documents.ts";
import { projectRoot, readProjectFile } from "../support/project-files.ts";

const rulesFile = "docker/prometheus/alerts.yml";
const rules = readProjectFile(rulesFile);
const ruleTests = readProjectFile("test/observe/alerts.promtool.yml");
const alerts = [...rules.matchAll(/^ {6}- alert: (\w+)$/gm)].map(([, name = ""]) => name);

interface Ended {
  readonly status: number;
  readonly output: string;
}

const promtool = (...args: readonly string[]): Promise<Ended> =>
  new Promise((resolve, reject) => {
    execFile("promtool", args, (error, stdout, stderr) => {
      if (error?.code === "ENOENT") reject(new Error("this test needs promtool: install Debian's package prometheus"));
      resolve({ status: Number(error?.code ?? 0), output: stdout + stderr });
    });
  });

/** Runs the tests of the rules on other rules. */
async function testRules(text: string): Promise<Ended> {
  const directory = mkdtempSync(join(tmpdir(), "tahoe-apt-alerts-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  writeFileSync(join(directory, "alerts.yml"), text);
  writeFileSync(join(directory, "tests.yml"), ruleTests.replace(`../../${rulesFile}`, "alerts.yml"));
  return await promtool("test", "rules", join(directory, "tests.yml"));
}

test("promtool accepts the configuration of the guide, with the alerts beside it", async () => {
  const directory = mkdtempSync(join(tmpdir(), "tahoe-apt-scrape-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  writeFileSync(join(directory, "alerts.yml"), rules);
  writeFileSync(join(directory, "token"), "a-token");
  const text = blockOf("yaml scrape").replace("/etc/prometheus/tahoe-apt.token", join(directory, "token"));
  writeFileSync(join(directory, "prometheus.yml"), text);
  const check = async (): Promise<Ended> => await promtool("check", "config", join(directory, "prometheus.yml"));
  expect(await check()).toMatchObject({ status: 0, output: expect.stringContaining(`${alerts.length} rules found`) });
  writeFileSync(join(directory, "prometheus.yml"), text.replace("job_name", "job"));
  expect(await check()).toMatchObject({ status: 1 });
});

test("promtool accepts the rules, and its tests of them pass", async () => {
  expect(alerts.length).toBeGreaterThan(10);
  const checked = await promtool("check", "rules", join(projectRoot, rulesFile));
  expect(checked).toMatchObject({ status: 0, output: expect.stringContaining(`SUCCESS: ${alerts.length} rules`) });
  expect(await testRules(rules)).toMatchObject({ status: 0, output: expect.stringContaining("SUCCESS") });
});

test.each([
  ["never fires", "vector(0) > 1"],
  ["always fires", "vector(1)"],
])("the tests notice of each alert that it %s", async (_fault, expression) => {
  const { status, output } = await testRules(rules.replaceAll(/^( +expr: ).*/gm, `$1${expression}`));
  expect(status).not.toBe(0);
  expect(alerts.filter((alert) => !output.includes(`alertname: ${alert},`))).toEqual([]);
});

test("each alert has a severity, and a summary for people", () => {
  const parts = rules.split(/^ {6}- alert: /m).slice(1);
  for (const part of parts) expect(part).toMatch(/severity: (warning|critical)\n +annotations:\n +summary: ".{30,}"/);
});

test("the guide has each alert with its severity, and a section that says what to do", () => {
  const guide = readProjectFile("docs/guide-monitoring.md");
  const inGuide = [...guide.matchAll(/^\| \[(TahoeApt\w+)\]\(#\w+\) \| (\w+) \|/gm)].map((row) => row.slice(1, 3));
  const inRules = [...rules.matchAll(/- alert: (\w+)\n(?:.+\n)*? +severity: (\w+)/g)].map((rule) => rule.slice(1, 3));
  expect(inGuide).toEqual(inRules);
});
