// The references of commands and of exit codes, from the help of the built program.
import { join } from "node:path";
import { projectRoot } from "../support/project-files.ts";
import type { Page } from "./markdown.ts";
import { code, contentsOf, escaped, prose, table } from "./markdown.ts";

/** A line of the lists in a help: `--suite <name>`, and what it means. */
interface Item {
  readonly flags: string;
  readonly text: string;
}

/** As packaging/command-help.mjs reads it, which also makes the manual page and the completions. */
export interface CommandHelp {
  /** The names of the command; none for the program itself. */
  readonly words: readonly string[];
  readonly usage: string;
  readonly description: string;
  readonly argumentItems: readonly Item[];
  readonly options: readonly Item[];
  readonly commands: readonly Item[];
  /** The text behind the lists. */
  readonly rest: string;
}

const intro = `
\`tahoe-apt COMMAND --help\` prints the same, as does tahoe-apt(1) of the Debian package. Results go to standard output, and
everything else to standard error. Secrets are never arguments: they come from files or from the environment.
`;

/** The help of every command, without the program's own. */
export async function allCommands(): Promise<readonly CommandHelp[]> {
  const { readHelp } = (await import(join(projectRoot, "packaging/command-help.mjs"))) as {
    readonly readHelp: (program: string) => readonly CommandHelp[];
  };
  return readHelp(join(projectRoot, "dist/cli.js")).filter(({ words }) => words.length > 0);
}

const nameOf = ({ words }: CommandHelp): string => ["tahoe-apt", ...words].join(" ");

const itemRows = (items: readonly Item[]): readonly (readonly string[])[] =>
  items.map(({ flags, text }) => [code(flags), escaped(text)]);

function sectionText(help: CommandHelp): string {
  const options = help.options.filter(({ flags }) => !flags.includes("--help"));
  const rows = [...itemRows(help.argumentItems), ...itemRows(options)];
  return [
    `## ${nameOf(help)}`,
    prose(escaped(help.description)),
    `\`\`\`text\n${help.usage}\n\`\`\``,
    ...(rows.length === 0 ? [] : [table(["argument or option", "meaning"], rows)]),
    ...(help.rest === "" ? [] : [`\`\`\`text\n${help.rest}\n\`\`\``]),
  ].join("\n\n");
}

export function commandsPage(commands: readonly CommandHelp[]): Page {
  // A command that only groups others, without a text of its own, is in their names.
  const shown = commands.filter((help) => help.commands.length === 0 || help.rest !== "");
  return {
    file: "commands.md",
    title: "Commands",
    contents: "every command with its arguments, options and examples",
    madeFrom: "src/cli.ts and src/commands/",
    body: [prose(intro), contentsOf(shown.map(nameOf)), ...shown.map(sectionText)].join("\n\n"),
  };
}

const usualExitCodes: readonly (readonly [code: string, meaning: string])[] = [
  ["0", "done"],
  ["1", "failed"],
  ["2", "wrong arguments or configuration; nothing was changed"],
];

/** The exit codes that the help of a command explains, in its own words. */
export function exitCodesOf({ rest }: CommandHelp): readonly (readonly [code: string, meaning: string])[] {
  const [, list = ""] = /(?:^|\n)Exit codes: ([\s\S]+?)\.?(?:\n\n|$)/.exec(rest) ?? [];
  return list
    .replaceAll("\n", " ")
    .split(/,\s+(?=\d )/)
    .flatMap((each) => {
      const [, number, meaning] = /^(\d+) (.+)$/.exec(each) ?? [];
      return number === undefined || meaning === undefined ? [] : [[number, meaning] as const];
    });
}

export function exitCodesPage(commands: readonly CommandHelp[]): Page {
  const rows = commands.flatMap((help) =>
    exitCodesOf(help).map(([number, meaning], index) => [
      index === 0 ? code(nameOf(help)) : "",
      number,
      escaped(meaning),
    ]),
  );
  return {
    file: "exit-codes.md",
    title: "Exit codes",
    contents: "the exit codes of every command",
    madeFrom: "the texts of --help in src/cli.ts and src/commands/",
    body: [
      "All commands end with these codes:",
      table(["exit code", "meaning"], usualExitCodes),
      prose(
        `With \`--json\`, a command that fails also prints an object with \`exitCode\` and \`code\`, the
        [error code](error-codes.md). A signal that the command does not handle ends it with 128 and its number.`,
      ),
      "These commands say more, and those below them (as `snapshot pin` below `snapshot`) end with the same codes:",
      table(["command", "exit code", "meaning"], rows),
    ].join("\n\n"),
  };
}
