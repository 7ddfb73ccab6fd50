// Reads the --help texts of the program, from which the manual page and the completions are made.
import { execFileSync } from "node:child_process";

/**
 * The help of one command.
 * @typedef {{ flags: string, text: string }} Item flags as the help shows them, e.g. `--suite <name>`, and what they mean
 * @typedef {{ words: string[], usage: string, description: string, argumentItems: Item[], options: Item[],
 *   commands: Item[], rest: string }} CommandHelp `words` are the names of the command, none for the program itself;
 *   `rest` is the text behind the lists
 */

/**
 * Returns the help of the program and of all its commands, the program's first.
 * @param {string} program the path of cli.js
 * @returns {CommandHelp[]}
 */
export function readHelp(program) {
  // A process for each command would take ten seconds.
  const preload = new URL("all-help.mjs", import.meta.url).href;
  const all = execFileSync(process.execPath, ["--import", preload, program, "--help"], { encoding: "utf8" });
  return JSON.parse(all).map(({ words, text }) => ({ words, ...parseHelp(text) }));
}

const sections = { "Arguments:": "argumentItems", "Options:": "options", "Commands:": "commands" };

/** Parses commander's help: usage, description, then lists of items whose texts are wrapped and indented. */
export function parseHelp(text) {
  const help = { usage: "", description: "", argumentItems: [], options: [], commands: [], rest: "" };
  let section = "description";
  for (const line of text.split("\n")) {
    if (line.startsWith("Usage: ")) {
      help.usage = line.slice("Usage: ".length);
      continue;
    }
    const list = sections[line];
    if (list !== undefined && section !== "rest") section = list;
    else if (section === "description") help.description = `${help.description} ${line}`.trim();
    else if (section === "rest" || (line !== "" && !line.startsWith(" "))) {
      // Free text begins behind the lists.
      section = "rest";
      help.rest += `${line}\n`;
    } else if (/^ {2}\S/.test(line)) {
      const [, flags = "", words = ""] = /^ {2}(.+?)(?: {2,}(.*))?$/.exec(line) ?? [];
      help[section].push({ flags, text: words });
    } else {
      const last = help[section].at(-1);
      if (last !== undefined) last.text = `${last.text} ${line.trim()}`.trim();
    }
  }
  help.rest = help.rest.trim();
  return help;
}

/**
 * The long and short names of an option, without its argument.
 * @param {Item} option
 */
export const optionNames = ({ flags }) => flags.split(/,\s*/).map((each) => each.split(" ")[0] ?? "");

/**
 * What an option's argument is, by its name in the help: "file", "directory", another word, or undefined for none.
 * @param {Item} option
 */
export const argumentOf = ({ flags }) => /[<[]([a-z:-]+)(?:\.\.\.)?[>\]]/.exec(flags)?.[1];
