// Every command and option of tahoe-apt in a document exists.
import { expect, test } from "vitest";
import { CommandLine } from "../support/command-line.ts";
import { projectFiles, readProjectFile } from "../support/project-files.ts";

const documents = projectFiles().filter((path) => /^([A-Z]+|docs\/[^/]+)\.md$/.test(path));

/** The words after `tahoe-apt` in the code of a document. */
function commandsIn(text: string): readonly (readonly string[])[] {
  const lines = [...text.matchAll(/^```[\s\S]*?^```/gm)].flatMap(([block]) => block.split("\n"));
  const spans = [...text.replaceAll(/^```[\s\S]*?^```/gm, "").matchAll(/`([^`]+)`/g)].map(([, span = ""]) => span);
  return [...lines, ...spans].flatMap((code) => {
    // For dput it is the name of a profile.
    const [, rest] = /(?:^|(?<!dput)[\s/])tahoe-apt\s+((?:[a-z]|--)[\s\S]*)$/.exec(code.replace(/ +#.*/, "")) ?? [];
    return rest === undefined ? [] : [rest.trim().split(/\s+/)];
  });
}

const helps = new Map<string, string>();

/** The help of a command, e.g. `owner list`; "" if there is no such command. */
async function helpOf(command: string): Promise<string> {
  const known = helps.get(command);
  if (known !== undefined) return known;
  const line = new CommandLine([...command.split(" ").filter((word) => word !== ""), "--help"]);
  const text = (await line.ends()) === 0 ? line.output : "";
  helps.set(command, text);
  return text;
}

const isListed = (help: string, name: string): boolean => new RegExp(`^  ${name} `, "m").test(help);

/** A mistake in a document's use of a command; undefined if there is none. */
async function mistakeIn(words: readonly string[]): Promise<string | undefined> {
  const [first = "", second = ""] = words;
  const names = first.startsWith("-") ? [] : [first];
  const help = await helpOf(names.join(" "));
  if (names.length > 0 && !isListed(await helpOf(""), first)) return `there is no command ${first}`;
  const isGroup = /^Commands:/m.test(help) && names.length > 0;
  const subHelp = isGroup && isListed(help, second) ? await helpOf(`${first} ${second}`) : help;
  if (isGroup && /^[a-z]/.test(second) && subHelp === help) return `${first} has no command ${second}`;
  const options = words.filter((word) => word.startsWith("--")).map((word) => word.replace(/[=,;:.].*$/, ""));
  const unknown = options.filter((option) => option !== "--" && !new RegExp(`${option}\\b`).test(subHelp));
  return unknown.length === 0 ? undefined : `${words.join(" ")}: there is no option ${unknown.join(", ")}`;
}

test("every command and option of tahoe-apt in a document exists", async () => {
  const mistakes: string[] = [];
  let count = 0;
  for (const path of documents) {
    for (const words of commandsIn(readProjectFile(path))) {
      const mistake = await mistakeIn(words);
      if (mistake !== undefined) mistakes.push(`${path}: ${mistake}`);
      count += 1;
    }
  }
  expect(mistakes).toEqual([]);
  expect(count).toBeGreaterThan(40);
}, 120_000);

test("a command, a sub-command and an option that do not exist are found", async () => {
  expect(await mistakeIn(["publsh"])).toBe("there is no command publsh");
  expect(await mistakeIn(["snapshot", "rollforward", "x"])).toBe("snapshot has no command rollforward");
  expect(await mistakeIn(["view", "--dry-runs"])).toContain("there is no option --dry-runs");
  expect(await mistakeIn(["snapshot", "list", "--config", "FILE"])).toBeUndefined();
});
