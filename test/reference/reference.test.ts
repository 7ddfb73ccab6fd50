// docs/reference/ is what `npm run docs` writes from the code, and says something about everything.
import { basename } from "node:path";
import { describe, expect, test } from "vitest";
import { errorCodes } from "../../src/base/error-codes.ts";
import { effectOf } from "../../src/config/configuration-changes.ts";
import { projectFiles, projectRoot, readProjectFile, sourceFiles } from "../support/project-files.ts";
import { allCommands, commandsPage, exitCodesOf, exitCodesPage } from "./commands.ts";
import { configurationPage, configurationSections } from "./configuration.ts";
import { errorCodesPage } from "./error-codes.ts";
import { httpPage } from "./http-routes.ts";
import { everyLogCall, isEvent, logCallsIn, logEventsPage, meaningOf } from "./log-events.ts";
import { logMeanings, varyingMessages } from "./log-meanings.ts";
import type { Page } from "./markdown.ts";
import { prose, table, textOf } from "./markdown.ts";
import { allMetrics, metricsPage } from "./metrics.ts";

const commands = await allCommands();
const everyCall = everyLogCall();
const logCalls = everyCall.filter(isEvent);
const pages: readonly Page[] = [
  configurationPage(),
  commandsPage(commands),
  exitCodesPage(commands),
  httpPage(),
  errorCodesPage(),
  await metricsPage(),
  logEventsPage(logCalls),
];

const indexIntro = `
Made from the code by \`npm run docs\`; a test holds each page against the code. The [guide to
monitoring](../guide-monitoring.md#the-alerts) has the alerts, and [entry-metadata.md](../entry-metadata.md) the metadata
that an uploader may store beside a link.
`;

const indexText = `# Reference

<!-- npm run docs writes this page. Change test/reference/reference.test.ts instead. -->

${prose(indexIntro)}

${table(
  ["page", "contents", "made from"],
  pages.map(({ file, title, contents, madeFrom }) => [`[${title}](${file})`, contents, madeFrom]),
)}
`;

const texts = new Map([["README.md", indexText], ...pages.map((page): [string, string] => [page.file, textOf(page)])]);

// `npm run docs` runs this with --update, which writes the files.
for (const [file, text] of texts) {
  test(`docs/reference/${file} is what the code says; if it is not, run npm run docs`, async () => {
    await expect(text).toMatchFileSnapshot(`${projectRoot}docs/reference/${file}`);
  });
}

test("docs/reference/ has no other pages", () => {
  const files = projectFiles().filter((path) => path.startsWith("docs/reference/"));
  expect(files.filter((path) => !texts.has(basename(path)))).toEqual([]);
});

describe("the reference of the configuration", () => {
  const sections = configurationSections();
  const keys = sections.flatMap((section) => section.keys);

  test("has every table, and a text for each", () => {
    expect(sections.length).toBeGreaterThan(15);
    expect(sections.filter(({ header, schema }) => header !== "" && !schema.description)).toEqual([]);
  });

  test("says of each key what it means, since which version it exists, and what a reload does", () => {
    expect(keys.length).toBeGreaterThan(120);
    const incomplete = keys.filter(
      ({ path, schema }) => !schema.description || !schema.since || effectOf(path) === undefined,
    );
    expect(incomplete.map(({ path }) => path.join("."))).toEqual([]);
  });

  test("names only versions that CHANGELOG.md has", () => {
    const versions = [...readProjectFile("CHANGELOG.md").matchAll(/^## (\d+\.\d+\.\d+)/gm)].map(([, one]) => one);
    expect(versions.length).toBeGreaterThan(0);
    expect([...new Set(keys.map(({ schema }) => schema.since))].filter((one) => !versions.includes(one))).toEqual([]);
  });
});

describe("the reference of commands", () => {
  test("has every command, and a text for each argument and option", () => {
    expect(commands.length).toBeGreaterThan(30);
    const silent = commands.flatMap(({ words, description, argumentItems, options }) =>
      [{ flags: "", text: description }, ...argumentItems, ...options]
        .filter(({ text }) => text.length < 3)
        .map(({ flags }) => [...words, flags].join(" ")),
    );
    expect(silent).toEqual([]);
  });

  test("has every exit code that a command sets", () => {
    const texts = new Map(
      projectFiles()
        .filter((path) => path.startsWith("src/commands/"))
        .map((path) => [basename(path), readProjectFile(path)]),
    );
    const documentedIn = (text: string): readonly string[] => {
      const names = [...text.matchAll(/\.command\("([a-z-]+)"/g)].map(([, name]) => name);
      const own = commands.filter(({ words }) => words.length === 1 && names.includes(words[0]));
      return own.flatMap((help) => exitCodesOf(help).map(([code]) => code));
    };
    const missing = [...texts].flatMap(([file, text]) => {
      const tables = [...text.matchAll(/const (?:exitCodes|restartNeeded)\b[^=]*= (\{[^}]*\}|\d+)/g)];
      const codes = tables.flatMap(([, values = ""]) => values.match(/\d+/g) ?? []);
      // Those of a shared file are the codes of the commands that import it.
      const users = [text, ...[...texts.values()].filter((other) => other.includes(`/${file}"`))];
      const documented = users.flatMap(documentedIn);
      return codes.filter((code) => !documented.includes(code)).map((code) => `${file}: ${code}`);
    });
    expect(missing).toEqual([]);
    expect(commands.filter((help) => exitCodesOf(help).some(([code]) => code === "3")).length).toBeGreaterThan(4);
  });
});

test("every error code has a meaning and a remedy", () => {
  for (const [code, { meaning, advice }] of Object.entries(errorCodes)) {
    expect(meaning, code).toMatch(/^[A-Z].+\.$/);
    expect(advice, code).toMatch(/^\S.+\.$/);
  }
});

test("every metric has a meaning and a value, which shows its labels", async () => {
  const metrics = await allMetrics();
  const own = metrics.filter(({ name }) => name.startsWith("tahoe_apt_"));
  expect(own.length).toBeGreaterThan(40);
  expect(own.filter(({ hasValue }) => !hasValue)).toEqual([]);
  expect(metrics.filter(({ help }) => help.length < 10)).toEqual([]);
});

describe("the reference of log events", () => {
  test("has a meaning for every message, and no message that is gone", () => {
    const shortened = ({ file, source }: (typeof logCalls)[number]) => `${file.replace("src/", "")} ${source}`;
    expect(logCalls.filter((call) => meaningOf(call) === undefined).map(shortened)).toEqual([]);
    const messages = new Set(logCalls.map((call) => call.message ?? shortened(call)));
    const known = [...Object.keys(logMeanings), ...Object.keys(varyingMessages)];
    expect(known.filter((message) => !messages.has(message))).toEqual([]);
  });

  test("names every field, also those that only the running program knows", () => {
    const incomplete = logCalls.filter((call) => call.hasOtherFields && meaningOf(call)?.fields === undefined);
    expect(incomplete.map(({ file, source }) => `${file}: ${source}`)).toEqual([]);
  });

  test("sees every call of a logger", () => {
    const naive = sourceFiles().flatMap((path) => readProjectFile(path).match(/log\.(info|warn|error)\(/gi) ?? []);
    expect(everyCall.length).toBe(naive.length);
    expect(everyCall.length).toBeGreaterThan(70);
  });

  test("finds level, message and fields of a call, whatever its form", () => {
    const text = `
      const context = { one, "two": 2 };
      this.#options.log.warn({ suite, ...(isNew && { isNew }), ...rest }, \`the suite \${suite} is new\`);
      log.error(
        context,
        "a b",
      );
      command.error("no log", {});
    `;
    expect(logCallsIn("src/a.ts", text)).toMatchObject([
      { level: "warn", message: "the suite … is new", fields: ["suite", "isNew"], hasOtherFields: true },
      { level: "error", message: "a b", fields: ["one"], hasOtherFields: true },
    ]);
  });
});
