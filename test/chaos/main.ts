// `npm run chaos`: everything that can go wrong goes wrong, for some minutes, and a table says what was found.
import { randomInt } from "node:crypto";
import { parseArgs } from "node:util";
import { runChaos } from "./run.ts";

const usage = "usage: npm run chaos -- [--minutes N] [--seed N]";
/** A run without `--minutes`: it goes on until the server was killed so often, within these limits. */
const fullRun = { minutes: 10, maxMinutes: 15, kills: 100 };
const maxMinutes = 24 * 60;
const livesPerWindow = 12;

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { minutes: { type: "string" }, seed: { type: "string" } } });
  const isFull = values.minutes === undefined;
  const minutes = Number(values.minutes ?? fullRun.minutes);
  const seed = Number(values.seed ?? randomInt(2 ** 31));
  if (!(minutes > 0 && minutes <= maxMinutes) || !Number.isSafeInteger(seed)) throw new Error(usage);
  const until = isFull ? ` and until ${fullRun.kills} kills, at most ${fullRun.maxMinutes} minutes,` : "";
  process.stdout.write(`chaos for ${minutes} minutes${until} with --seed ${seed}\n`);
  const { findings, rows, work } = await runChaos({
    seed,
    seconds: minutes * 60,
    ...(isFull && { goal: { kills: fullRun.kills, seconds: fullRun.maxMinutes * 60 } }),
    projectRoot: process.cwd(),
    livesPerWindow,
  });
  const width = Math.max(...rows.map(([what]) => what.length));
  for (const [what, count] of rows) process.stdout.write(`  ${what.padEnd(width)}  ${count}\n`);
  for (const { atSeconds, invariant, what, during } of findings.violations)
    process.stdout.write(`VIOLATION of "${invariant}" after ${atSeconds} s, during ${during}:\n  ${what}\n`);
  if (findings.violations.length === 0) {
    process.stdout.write("nothing torn, no Date backwards, no acknowledged ping lost\n");
    return 0;
  }
  process.stdout.write(`the server's log is in ${work}; repeat with --seed ${seed}\n`);
  return 1;
}

main().then(
  (exitCode) => process.exit(exitCode),
  (thrown: unknown) => {
    process.stderr.write(`chaos: ${thrown instanceof Error ? thrown.message : String(thrown)}\n`);
    process.exit(2);
  },
);
