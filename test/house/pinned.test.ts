// What comes from elsewhere is pinned: actions by their commits, packages by the lock file.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { projectFiles, projectRoot, readProjectFile } from "../support/project-files.ts";

test("every action of a workflow is pinned by its commit, with its version beside it, and no job may write unasked", () => {
  const workflows = projectFiles().filter((path) => path.startsWith(".github/workflows/"));
  expect(workflows.length).toBeGreaterThan(1);
  for (const path of workflows) {
    const lines = readProjectFile(path).split("\n");
    const uses = lines.filter((line) => /^\s*(- )?uses: (?!\.\/)/.test(line));
    expect(
      uses.filter((line) => !/uses: [\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/.test(line)),
      path,
    ).toEqual([]);
    expect(lines.slice(lines.indexOf("permissions:")).slice(0, 2), path).toEqual(["permissions:", "  contents: read"]);
  }
});

test("the lock file names every optional package, those of other machines too: npm 11 installs from no other", () => {
  const { packages } = JSON.parse(readFileSync(join(projectRoot, "package-lock.json"), "utf8")) as {
    readonly packages: { readonly [path: string]: { readonly optionalDependencies?: object } };
  };
  const missing = Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies).filter(
      (name) =>
        packages[`node_modules/${name}`] === undefined && packages[`${path}/node_modules/${name}`] === undefined,
    ),
  );
  expect(missing).toEqual([]);
});
