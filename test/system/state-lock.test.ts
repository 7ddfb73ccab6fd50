// One server per state directory, whatever was left there and however many start at once, with real processes.
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, onTestFinished, test } from "vitest";
import { killed } from "../support/killed.ts";
import { projectRoot } from "../support/project-files.ts";

const tries = 12;
const contenders = 3;

const work = mkdtempSync(join(tmpdir(), "tahoe-apt-state-lock-"));
afterAll(() => rmSync(work, { recursive: true, force: true }));

/** Claims a directory at a given time, and keeps it until its standard input ends. */
const script = join(work, "claim.mjs");
writeFileSync(
  script,
  `import { claimState } from ${JSON.stringify(join(projectRoot, "dist/server/state-lock.js"))};
const [, , directory, at] = process.argv;
const log = { info() {}, warn(_, text) { console.log(text); }, error() {} };
while (Date.now() < Number(at));
const giveBack = await claimState(directory, log).catch((thrown) => console.log(thrown.code));
if (giveBack !== undefined) {
  console.log("claimed");
  for await (const _ of process.stdin);
  await giveBack();
}
`,
);

interface Contender {
  /** Resolves with its first output. */
  readonly output: Promise<string>;
  kill(): Promise<void>;
  end(): Promise<void>;
}

function contend(directory: string, atMs: number): Contender {
  const child = spawn(process.execPath, [script, directory, String(atMs)]);
  onTestFinished(() => killed(child));
  const closed = new Promise<void>((resolve) => child.once("close", () => resolve()));
  return {
    output: new Promise((resolve) => child.stdout.once("data", (chunk: Buffer) => resolve(chunk.toString().trim()))),
    async kill() {
      child.kill("SIGKILL");
      await closed;
    },
    async end() {
      child.stdin.end();
      await closed;
    },
  };
}

test("of servers that start at once beside a killed one's claim, exactly one gets the directory, and releases it", {
  timeout: 120_000,
}, async () => {
  const directory = mkdtempSync(join(work, "state-"));
  for (let n = 0; n < tries; n++) {
    const atMs = Date.now() + 500;
    const all = Array.from({ length: contenders }, () => contend(directory, atMs));
    const output = await Promise.all(all.map((one) => one.output));
    expect(output.toSorted()).toEqual(["claimed", "state/in-use", "state/in-use"]);
    // A kill leaves its claim behind for the next round.
    await Promise.all(all.map((one, index) => (output[index] === "claimed" ? one.kill() : one.end())));
    expect(readdirSync(directory)).toEqual(["in-use"]);
  }
  const last = contend(directory, 0);
  expect(await last.output).toBe("claimed");
  await last.end();
  expect(readdirSync(directory)).toEqual([]);
});
