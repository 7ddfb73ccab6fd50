// Ends a test run with one line of counts, and makes a run without any test fail.
import { writeSync } from "node:fs";
import type { Reporter, SerializedError, TestModule } from "vitest/node";

const standardOutput = 1;

/** Prints `N passed, N failed, N skipped` for all projects as the very last line of the run. */
export default class CountingReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    const count = { passed: 0, failed: unhandled.length, skipped: 0 };
    for (const module of modules) {
      // A file or set-up that failed outside of its tests counts as one failure: its tests may not have run.
      const brokenSuites = [...module.children.allSuites()].filter((suite) => suite.errors().length > 0).length;
      count.failed += module.errors().length + brokenSuites;
      for (const { state } of [...module.children.allTests()].map((test) => test.result())) {
        count[state === "pending" ? "failed" : state] += 1;
      }
    }
    // On exit, because set-ups still stop what they started after this call, and may print something.
    process.once("exit", () => {
      if (count.failed > 0 || count.passed === 0) process.exitCode ||= 1;
      writeSync(standardOutput, `${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped\n`);
    });
  }
}
