// Two projects: what needs only Node, then what needs a real grid, apt or a long set-up.
import { defineConfig } from "vitest/config";

const unitTimeoutMs = 60_000;
const systemTimeoutMs = 240_000;
/** How long `expect.poll` tries, unless a test says otherwise. It ends as soon as it succeeds. */
const poll = { timeout: 30_000 };

export default defineConfig({
  test: {
    reporters: ["default", "./test/support/reporter.ts"],
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/**/*.test.ts"],
          exclude: ["test/system/**", "**/node_modules/**"],
          globalSetup: ["test/support/build-setup.ts"],
          expect: { poll },
          testTimeout: unitTimeoutMs,
          hookTimeout: unitTimeoutMs,
          // More than there are cores, as a rule: some of these wait for timers and sockets most of the time.
          maxWorkers: 4,
          // Files that run in one process share what they load: loading it anew takes a third of the time. Whoever mocks a
          // module loads it after vi.resetModules(), and lets it go again.
          isolate: false,
          restoreMocks: true,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: "system",
          include: ["test/system/**/*.test.ts"],
          globalSetup: ["test/support/build-setup.ts", "test/support/grid-setup.ts"],
          expect: { poll },
          testTimeout: systemTimeoutMs,
          hookTimeout: systemTimeoutMs,
          // More than there are cores, as a rule: these wait for other programs most of the time.
          maxWorkers: 3,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
