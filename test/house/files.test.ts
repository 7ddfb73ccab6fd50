// Rules for every file of the project.
import { expect, test } from "vitest";
import { projectFiles, readProjectFile, sourceFiles } from "../support/project-files.ts";

const longestLine = 120;

const isText = (path: string): boolean => !/\.(png|gz|xz|zst|bz2|deb|tar|ico|woff2?)$/.test(path);

const linesOf = (path: string): readonly string[] => readProjectFile(path).split("\n");
const texts = projectFiles().filter(isText);

test("the list of files is not empty", () => {
  expect(sourceFiles().length).toBeGreaterThan(20);
});

test("the first line of every source and test file says why the file exists", () => {
  const silent = projectFiles()
    .filter((path) => /^(src|test)\/.*\.(ts|mjs)$/.test(path))
    .filter((path) => !/^\/\/ \S.{10}/.test(linesOf(path).find((line) => !line.startsWith("#!")) ?? ""));
  expect(silent).toEqual([]);
});

test(`no line of a document is wider than ${longestLine} columns, except in tables and links`, () => {
  const wide = texts
    .filter((path) => path.endsWith(".md"))
    .flatMap((path) => linesOf(path).map((line, index) => ({ place: `${path}:${index + 1}`, line })))
    .filter(({ line }) => line.length > longestLine && !line.startsWith("|") && !/https?:/.test(line));
  expect(wide).toEqual([]);
});

/** The configuration, and what a service manager says. */
const readTheEnvironment = ["src/config/load-config.ts", "src/server/service-manager.ts"];

test("only load-config.ts and service-manager.ts read the environment", () => {
  const readers = sourceFiles().filter((path) => /process\.env|from "node:process"/.test(readProjectFile(path)));
  expect(readers.filter((path) => !readTheEnvironment.includes(path))).toEqual([]);
});
