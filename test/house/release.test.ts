// The notes of a release are the section of its version in CHANGELOG.md, and a release that is not ready has none.
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { projectRoot } from "../support/project-files.ts";

const changelog = `# Changes

## 1.2.0 - 2026-12-24

### Added

- Two.

## 1.1.0 - 2026-12-01

- One.
`;

/** The notes for a tag in a project of this version, and what is said instead where there are none. */
function notesFor(tag: string, { version = "1.2.0", text = changelog } = {}) {
  const root = mkdtempSync(join(tmpdir(), "release-"));
  onTestFinished(() => rmSync(root, { recursive: true }));
  mkdirSync(join(root, ".github"));
  copyFileSync(join(projectRoot, ".github/release-notes.mjs"), join(root, ".github/release-notes.mjs"));
  writeFileSync(join(root, "package.json"), JSON.stringify({ version }));
  writeFileSync(join(root, "CHANGELOG.md"), text);
  const program = [join(root, ".github/release-notes.mjs"), tag];
  const { status, stdout, stderr } = spawnSync(process.execPath, program, { encoding: "utf8" });
  return { status, stdout, stderr };
}

test("the notes of a release are its own section, without the title", () => {
  expect(notesFor("v1.2.0")).toEqual({ status: 0, stdout: "### Added\n\n- Two.\n\n", stderr: "" });
  expect(notesFor("v1.1.0", { version: "1.1.0" }).stdout).toBe("- One.\n");
});

test("a tag that is not the version of package.json makes no release", () => {
  expect(notesFor("v1.1.0")).toMatchObject({ status: 1, stdout: "", stderr: expect.stringContaining("v1.2.0") });
  expect(notesFor("1.2.0").status).toBe(1);
});

test("a version that CHANGELOG.md does not have, or has without a date, makes no release", () => {
  expect(notesFor("v1.3.0", { version: "1.3.0" }).stderr).toContain("no section 1.3.0");
  const undated = changelog.replace("1.2.0 - 2026-12-24", "1.2.0 - not released yet");
  expect(notesFor("v1.2.0", { text: undated }).stderr).toContain("has no date");
});
