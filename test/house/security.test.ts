// docs/security.md claims nothing that no test shows: each line of its tables names a test that exists.
import { expect, test } from "vitest";
import { projectFiles, readProjectFile } from "../support/project-files.ts";

const document = "docs/security.md";
const reference = /^`(test\/[^`]+)`: (.+)$/;

/** The last cells of all lines of tables, but for their heads. */
function claims(text: string): readonly { readonly line: string; readonly shownBy: string }[] {
  const lines = text.split("\n");
  return lines.flatMap((line, index) => {
    if (!line.startsWith("|") || /^\|[-| ]*$/.test(line) || /^\| ?---/.test(lines[index + 1] ?? "")) return [];
    return [
      {
        line,
        shownBy:
          line
            .split(/(?<!\\)\|/)
            .at(-2)
            ?.trim() ?? "",
      },
    ];
  });
}

/** Whether a file has a test, or a transcript's request, of this title. */
function hasTest(path: string, title: string): boolean {
  const text = readProjectFile(path);
  if (path.endsWith(".http")) return text.split("\n").includes(`# ${title}`);
  return ['"', "`"].some((quote) => {
    const literal = `${quote}${title}${quote}`;
    return text.includes(`(${literal},`) || text.split("\n").some((line) => line.trim() === `${literal},`);
  });
}

function problemOf(shownBy: string, files: ReadonlySet<string>): string | undefined {
  const [, path, title] = reference.exec(shownBy) ?? [];
  if (path === undefined || title === undefined) return "names no test";
  if (!/\.(test\.ts|http)$/.test(path) || !files.has(path)) return `${path} is no file of tests`;
  return hasTest(path, title) ? undefined : `${path} has no test "${title}"`;
}

test("each line of the threat model's tables names a test that exists", () => {
  const files = new Set(projectFiles());
  const all = claims(readProjectFile(document));
  expect(all.length).toBeGreaterThan(80);
  expect(all.map(({ line, shownBy }) => [problemOf(shownBy, files), line]).filter(([problem]) => problem)).toEqual([]);
});

test("a line without a test, with an unknown file or with an unknown title is found", () => {
  const file = "test/house/security.test.ts";
  const files = new Set(projectFiles());
  const table = (cell: string): string => `| A builder … | Shown by |\n| --- | --- |\n| cannot fly | ${cell} |\n`;
  const problems = (cell: string) => claims(table(cell)).map(({ shownBy }) => problemOf(shownBy, files));
  const title = "each line of the threat model's tables names a test that exists";
  expect(problems(`\`${file}\`: ${title}`)).toEqual([undefined]);
  expect(problems("")).toEqual(["names no test"]);
  expect(problems("common sense")).toEqual(["names no test"]);
  expect(problems(`\`test/house/none.test.ts\`: ${title}`)).toEqual(["test/house/none.test.ts is no file of tests"]);
  expect(problems(`\`${file}\`: ${title.slice(1)}`)).toEqual([`${file} has no test "${title.slice(1)}"`]);
});
