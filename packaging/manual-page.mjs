// Renders tahoe-apt(1) from the --help texts, in the man macros of groff_man(7).
import { optionNames } from "./command-help.mjs";

/** Escapes text: hyphens of options, and what would be a request at the beginning of a line. */
const escaped = (text) =>
  text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replaceAll(
      /[^\n -~]/gu,
      (character) => `\\[u${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}]`,
    )
    .replaceAll(/^([.'])/gm, "\\&$1");

const items = (list) => list.map(({ flags, text }) => `.TP\n.B ${escaped(flags)}\n${escaped(text)}\n`).join("");

/** Free text keeps its lines: most of it is examples. */
const verbatim = (text) => (text === "" ? "" : `.PP\n.nf\n${escaped(text)}\n.fi\n`);

function commandSection({ words, usage, description, argumentItems, options, rest }) {
  const named = options.filter((option) => !optionNames(option).includes("--help"));
  return [
    `.SS "${escaped(words.join(" "))}"\n`,
    `.B ${escaped(usage)}\n.PP\n${escaped(description)}\n`,
    items(argumentItems),
    items(named),
    verbatim(rest),
  ].join("");
}

/**
 * @param {import("./command-help.mjs").CommandHelp[]} helps the program's first
 * @param {{ version: string, date: string }} about `date` as YYYY-MM-DD
 */
export function manualPage(helps, { version, date }) {
  const [main, ...commands] = helps;
  return [
    `.TH TAHOE\\-APT 1 "${date}" "tahoe\\-apt ${escaped(version)}" "User Commands"\n`,
    ".SH NAME\ntahoe\\-apt \\- APT repository served from a Tahoe\\-LAFS directory tree\n",
    ".SH SYNOPSIS\n.B tahoe\\-apt\n.I COMMAND\n.RI [ OPTION ...]\n",
    `.SH DESCRIPTION\n${escaped(main.description)}\n`,
    ".PP\nThe server of this package reads /etc/tahoe\\-apt/tahoe\\-apt.toml; start it with\n",
    '.BR "systemctl enable \\-\\-now tahoe\\-apt" .\n',
    `.SH OPTIONS\n${items(main.options)}`,
    `.SH COMMANDS\n${commands.map(commandSection).join("")}`,
    ".SH FILES\n",
    items([
      { flags: "/etc/tahoe-apt/tahoe-apt.toml", text: "The configuration of the server." },
      { flags: "/var/lib/tahoe-apt", text: "Its state: signing keys, last Dates, pins, and caches." },
      { flags: "/usr/share/doc/tahoe-apt", text: "Guides for operators, builders and APT users." },
    ]),
    ".SH SEE ALSO\n.BR apt (8),\n.BR sources.list (5)\n",
  ].join("");
}
