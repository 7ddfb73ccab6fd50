// Every block of commands, code or configuration in a document is run or read by a test.
import { expect, test } from "vitest";
import type { Block } from "../support/documents.ts";
import { blocksIn, documentPaths } from "../support/documents.ts";
import { projectFiles, readProjectFile } from "../support/project-files.ts";

/** Blocks that cannot run in a test as they are, with the reason. */
const notRun: ReadonlyMap<string, string> = new Map([
  [
    "sh bench",
    "its shortest line takes a minute, its longest an hour; bench.test.ts runs the same measures at a small scale",
  ],
  ["markdown badge", "has no command; pages of packages have it for their own address, which feeds.test.ts checks"],
]);

const fenceOf = ({ language, name }: Block): string => `${language} ${name}`.trim();

/** The text of all tests except this one. */
const tests = projectFiles()
  .filter((path) => /^test\/.*\.ts$/.test(path) && !path.startsWith("test/house/commands."))
  .map(readProjectFile)
  .join("\n");

const isRun = (block: Block): boolean => {
  // Generated from the program, which a test compares it with.
  if (block.path.startsWith("docs/reference/")) return true;
  // Tests of their own run all blocks of these documents, or cause all messages in them.
  if (block.path === "docs/tutorial.md") return block.name.startsWith("tutorial-");
  if (block.path === "docs/guide-troubleshooting.md" && block.language === "text") return block.name !== "";
  return block.name !== "" && tests.includes(`"${fenceOf(block)}"`);
};

test("every block in a document has a name, by which a test runs or reads it, or a reason why none does", () => {
  const blocks = documentPaths().flatMap(blocksIn);
  expect(blocks.length).toBeGreaterThan(50);
  const missed = blocks.filter((block) => !isRun(block) && !notRun.has(fenceOf(block)));
  expect(missed.map((block) => `${block.path}: ${fenceOf(block)}`)).toEqual([]);
  const fences = blocks.map(fenceOf);
  expect([...notRun.keys()].filter((fence) => !fences.includes(fence))).toEqual([]);
});

test("a block that no test runs is found", () => {
  const block = { path: "docs/limits.md", text: "true\n" };
  expect(isRun({ ...block, language: "sh", name: "" })).toBe(false);
  expect(isRun({ ...block, language: "sh", name: "that nobody runs" })).toBe(false);
  expect(isRun({ ...block, language: "sh", name: "put" })).toBe(true);
});

/** Commands in running text that do more than one thing: these belong into a block. */
const compound = /\s(&&|\|\|?|>{1,2})\s*\S|;\s|\$\(/;
const programs =
  /^(sudo )?(apt|apt-get|apt-cache|curl|systemctl|journalctl|gpg|docker|echo|openssl|cat|cp|mv|rm|chmod|chown|scp|ssh|dpkg[a-z-]*|dput|age|tar|tahoe|tahoe-apt|npm|npx|node|python3|git|certbot|install|mkdir) \S/;

/** The commands in the running text of a document. */
const commandsIn = (text: string): readonly string[] =>
  [...text.replaceAll(/^```[\s\S]*?^```/gm, "").matchAll(/`([^`]+)`/g)]
    .map(([, span = ""]) => span.replaceAll(/\s+/g, " "))
    .filter((span) => programs.test(span));

test("a command that does more than one thing is not in running text, where no test runs it", () => {
  const commands = documentPaths().flatMap((path) =>
    commandsIn(readProjectFile(path)).map((command) => ({ path, command })),
  );
  expect(commands.length).toBeGreaterThan(50);
  expect(commands.filter(({ command }) => compound.test(command))).toEqual([]);
  expect(
    commandsIn("`cat a b >c`, `x`, `echo a; b`\n```sh\necho b >c\n```\n").map((each) => compound.test(each)),
  ).toEqual([true, true]);
});
