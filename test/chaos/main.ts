// `npm run chaos`: everything that can go wrong goes wrong, for some minutes, and a table says what was found. With
// `--fleet`, to three replicas.
import { randomInt } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startGrid } from "../../src/local/grid/grid.ts";
import { installTahoe } from "../../src/local/grid/install.ts";
import { SentinelUnderTest } from "../support/valkey-sentinel.ts";
import type { Findings } from "./findings.ts";
import type { FleetResult, FleetRunOptions } from "./fleet-run.ts";
import { fleetFailures, runFleet } from "./fleet-run.ts";
import { runChaos } from "./run.ts";

const usage = "usage: npm run chaos -- [--fleet] [--minutes N] [--seed N]";
/** A run without `--minutes`: it goes on until the server was killed so often, within these limits. */
const fullRun = { minutes: 10, maxMinutes: 15, kills: 100 };
const maxMinutes = 24 * 60;
const livesPerWindow = 12;

/** A run with `--fleet`; after it, a short one in which Sentinel replaces a Valkey that dies. */
const fleetRun = { minutes: 2, rawClients: 50, aptClients: 5, pauseSeconds: 60, outageSeconds: 8 };
const sentinelRun = { rawClients: 20, aptClients: 3, seconds: 20 };

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { minutes: { type: "string" }, seed: { type: "string" }, fleet: { type: "boolean", default: false } },
  });
  const isFull = values.minutes === undefined;
  const minutes = Number(values.minutes ?? (values.fleet ? fleetRun : fullRun).minutes);
  const seed = Number(values.seed ?? randomInt(2 ** 31));
  if (!(minutes > 0 && minutes <= maxMinutes) || !Number.isSafeInteger(seed)) throw new Error(usage);
  if (values.fleet) return await fleet(seed, minutes);
  const until = isFull ? ` and until ${fullRun.kills} kills, at most ${fullRun.maxMinutes} minutes,` : "";
  process.stdout.write(`chaos for ${minutes} minutes${until} with --seed ${seed}\n`);
  return report(
    await runChaos({
      seed,
      seconds: minutes * 60,
      ...(isFull && { goal: { kills: fullRun.kills, seconds: fullRun.maxMinutes * 60 } }),
      projectRoot: process.cwd(),
      livesPerWindow,
    }),
    `repeat with --seed ${seed}`,
  );
}

async function fleet(seed: number, minutes: number): Promise<number> {
  process.stdout.write(`a fleet for ${minutes} minutes with --fleet --seed ${seed}\n`);
  const { signal } = new AbortController();
  const progress = (): void => undefined;
  const venv = join(process.cwd(), ".tahoe-apt/venv");
  const tahoe = await installTahoe({ directory: venv, progress, signal, searchPath: process.env.PATH ?? "" });
  const directory = mkdtempSync(join(tmpdir(), "tahoe-apt-fleet-grid-"));
  const grid = await startGrid({ directory, tahoe, progress, signal });
  const { webapiUrl } = grid;
  const run = async (further: Partial<FleetRunOptions>): Promise<FleetResult> =>
    await runFleet({ ...fleetRun, seed, webapiUrl, failures: fleetFailures, seconds: minutes * 60, ...further });
  try {
    const exitCode = report(await run({}), `repeat with --fleet --seed ${seed}`);
    const sentinel = await SentinelUnderTest.start();
    try {
      const result = await run({ ...sentinelRun, sentinel, failures: ["kill the primary Valkey"] });
      return report(result, `repeat with --fleet --seed ${seed}`) || exitCode;
    } finally {
      await sentinel.stop();
    }
  } finally {
    await grid.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** @returns the exit code */
function report(
  { findings, rows, work }: { readonly findings: Findings } & Pick<FleetResult, "rows" | "work">,
  repeat: string,
): number {
  const width = Math.max(...rows.map(([what]) => what.length));
  for (const [what, count] of rows) process.stdout.write(`  ${what.padEnd(width)}  ${count}\n`);
  for (const { atSeconds, invariant, what, during } of findings.violations)
    process.stdout.write(`VIOLATION of "${invariant}" after ${atSeconds} s, during ${during}:\n  ${what}\n`);
  if (findings.violations.length === 0) {
    process.stdout.write("nothing torn, no Date backwards, no acknowledged ping lost\n");
    return 0;
  }
  process.stdout.write(`the servers' logs are in ${work}; ${repeat}\n`);
  return 1;
}

main().then(
  (exitCode) => process.exit(exitCode),
  (thrown: unknown) => {
    process.stderr.write(`chaos: ${thrown instanceof Error ? thrown.message : String(thrown)}\n`);
    process.exit(2);
  },
);
