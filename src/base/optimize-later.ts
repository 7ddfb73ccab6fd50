// Settings of V8's optimizing compiler for commands that end within seconds.
import { setFlagsFromString } from "node:v8";

/**
 * How much bytecode a function executes before V8 optimizes it, in bytes. The default is a ninth of it. Each thread
 * optimizes the same functions again, which takes a third of the CPU time of an import of 2,000 packages.
 */
const interruptBudgetBytes = 600_000;

/** From this version on, V8 has a faster compiler that it uses first, and no such setting. */
const firstMajorWithMaglev = 12;

/** Takes effect at once, also in worker threads. */
export function optimizeLater(): void {
  const [major = ""] = process.versions.v8.split(".");
  if (Number(major) < firstMajorWithMaglev) setFlagsFromString(`--interrupt-budget=${interruptBudgetBytes}`);
}
