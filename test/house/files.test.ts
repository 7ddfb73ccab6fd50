// What every file of the project owes its reader, and what none may give away.
import { expect, test } from "vitest";
import { projectFiles, readProjectFile, sourceFiles } from "../support/project-files.ts";

const maxLines = 300;
const longestLine = 120;

const isText = (path: string): boolean => !/\.(png|gz|xz|zst|bz2|deb|tar|ico|woff2?)$/.test(path);

// Spelt in parts, so that this file does not find itself.
const machinePath = new RegExp(`${"/wo"}${"rk"}(/|\\b)`);
const sharedNotes = new RegExp(`${"\\.\\./sha"}${"red"}`);
const registry = new RegExp(["registry[.]npm", "js[.]org|https?://[^/\\s]*artifact", "ory"].join(""));

const linesOf = (path: string): readonly string[] => readProjectFile(path).split("\n");
const texts = projectFiles().filter(isText);

test("there are files to look at", () => {
  expect(sourceFiles().length).toBeGreaterThan(20);
  expect(texts).toContain("package-lock.json");
});

test("the first line of every source and test file says why the file exists", () => {
  const silent = projectFiles()
    .filter((path) => /^(src|test)\/.*\.(ts|mjs)$/.test(path))
    .filter((path) => !/^\/\/ \S.{10}/.test(linesOf(path).find((line) => !line.startsWith("#!")) ?? ""));
  expect(silent).toEqual([]);
});

test(`no source or test file is longer than ${maxLines} lines`, () => {
  const long = projectFiles().filter(
    (path) => /^(src|test)\/.*\.(ts|mjs)$/.test(path) && linesOf(path).length > maxLines,
  );
  expect(long).toEqual([]);
});

test(`no line of a document is wider than ${longestLine} columns, but for tables and links`, () => {
  const wide = texts
    .filter((path) => path.endsWith(".md"))
    .flatMap((path) => linesOf(path).map((line, index) => ({ place: `${path}:${index + 1}`, line })))
    .filter(({ line }) => line.length > longestLine && !line.startsWith("|") && !/https?:/.test(line));
  expect(wide).toEqual([]);
});

test("only config.ts reads the environment", () => {
  const readers = sourceFiles().filter((path) => /process\.env|from "node:process"/.test(readProjectFile(path)));
  expect(readers.filter((path) => path !== "src/config.ts")).toEqual([]);
});

test.each([
  ["a path of the machine that it was written on", machinePath],
  ["notes outside of the project", sharedNotes],
  ["a package registry's host", registry],
])("no file mentions %s", (_what, pattern) => {
  expect(texts.filter((path) => pattern.test(readProjectFile(path)))).toEqual([]);
});

test("the lock file names no place to download from", () => {
  expect(readProjectFile("package-lock.json")).not.toContain('"resolved":');
});
