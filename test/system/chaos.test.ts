// A short run of `npm run chaos`: a few lives of the server, with broken gateways, disks, clocks and states.
import { expect, test } from "vitest";
import { runChaos } from "../chaos/run.ts";
import { projectRoot } from "../support/project-files.ts";

test("in some seconds of chaos nothing is torn, no Date goes back, and no acknowledged ping is lost", {
  timeout: 240_000,
}, async () => {
  const { findings, rows, work } = await runChaos({ seed: 7, seconds: 10, projectRoot, livesPerWindow: 3 });
  process.stderr.write(`chaos: ${rows.map(([what, count]) => `${what} ${count}`).join("; ")}\n`);
  expect(findings.violations, `see ${work}`).toEqual([]);
  expect(findings.counts.get("publications verified")).toBeGreaterThan(2);
  expect(findings.counts.get("acknowledged uploads")).toBeGreaterThan(2);
});
