// Renders completions for bash, zsh and fish from the --help texts.
import { argumentOf, optionNames } from "./command-help.mjs";

const isFile = (option) => ["file", "directory"].includes(argumentOf(option) ?? "");

/** Names of the commands below the given words. */
const below = ({ commands }) => commands.map(({ flags }) => flags.split(" ")[0]).filter((name) => name !== "help");

/** What may follow the words of one command: names of commands and of options. */
const candidates = (help) => [...below(help), ...help.options.flatMap(optionNames)];

/** @param {import("./command-help.mjs").CommandHelp[]} helps */
export function bashCompletion(helps) {
  const cases = helps.map((help) => `    "${help.words.join(" ")}") words="${candidates(help).join(" ")}" ;;`);
  const withFiles = [...new Set(helps.flatMap(({ options }) => options.filter(isFile).flatMap(optionNames)))];
  const groups = helps
    .filter((help) => below(help).length > 0 && help.words.length > 0)
    .map(({ words }) => words.join(" "));
  return `# bash completion for tahoe-apt
_tahoe_apt() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} command= words=
  COMPREPLY=()
  case $previous in
    ${withFiles.join("|")}) compopt -o default; return ;;
  esac
  if ((COMP_CWORD > 1)); then command=\${COMP_WORDS[1]}; fi
  if ((COMP_CWORD > 2)); then
    case $command in
      ${groups.join("|")}) command="$command \${COMP_WORDS[2]}" ;;
    esac
  fi
  case $command in
${cases.join("\n")}
  esac
  if [[ $current == -* || -z $command || " ${groups.join(" ")} " == *" $command "* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
  else
    compopt -o default
  fi
}
complete -F _tahoe_apt tahoe-apt
`;
}

const zshQuoted = (text) => text.replaceAll("'", "'\\''").replaceAll(/[[\]:]/g, "\\$&");

/** @param {import("./command-help.mjs").CommandHelp[]} helps */
export function zshCompletion(helps) {
  const functionOf = ({ words }) => ["_tahoe_apt", ...words].join("__").replaceAll("-", "_");
  const functions = helps.map((help) => {
    const options = help.options.map((option) => {
      const argument = argumentOf(option);
      const action = argument === undefined ? "" : `:${argument}:${isFile(option) ? "_files" : ""}`;
      const names = optionNames(option);
      const [text] = [zshQuoted(option.text)];
      return names.map((name) => `    '${name}[${text}]${action}'`).join(" \\\n");
    });
    const names = below(help);
    if (names.length === 0)
      return `${functionOf(help)}() {\n  _arguments \\\n${options.join(" \\\n")} \\\n    '*:file:_files'\n}\n`;
    const described = help.commands
      .filter(({ flags }) => !flags.startsWith("help"))
      .map(({ flags, text }) => `    '${flags.split(" ")[0]}:${text.replaceAll("'", "'\\''").replaceAll(":", "\\:")}'`);
    return `${functionOf(help)}() {
  local -a commands=(
${described.join("\n")}
  )
  _arguments -C \\
${options.join(" \\\n")} \\
    '1: :->command' '*:: :->rest'
  case $state in
    command) _describe command commands ;;
    rest) (( $+functions[${functionOf(help)}__\${words[1]//-/_}] )) && ${functionOf(help)}__\${words[1]//-/_} ;;
  esac
}
`;
  });
  return `#compdef tahoe-apt\n${functions.join("\n")}\n_tahoe_apt "$@"\n`;
}

const fishQuoted = (text) => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;

/** @param {import("./command-help.mjs").CommandHelp[]} helps */
export function fishCompletion(helps) {
  const lines = ["# fish completion for tahoe-apt"];
  for (const help of helps) {
    const { words } = help;
    const names = below(help);
    const seen = words.map((word) => `__fish_seen_subcommand_from ${word}`);
    const isOpen = names.length === 0 ? [] : [`not __fish_seen_subcommand_from ${names.join(" ")}`];
    const condition = [...seen, ...isOpen].join("; and ");
    const prefix = `complete -c tahoe-apt${condition === "" ? "" : ` -n ${fishQuoted(condition)}`}`;
    if (names.length > 0) {
      for (const { flags, text } of help.commands) {
        const [name] = flags.split(" ");
        if (name !== "help") lines.push(`${prefix} -f -a ${name} -d ${fishQuoted(text)}`);
      }
    }
    for (const option of help.options) {
      const flags = optionNames(option).map((name) =>
        name.startsWith("--") ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`,
      );
      const argument = argumentOf(option) === undefined ? "" : isFile(option) ? " -r -F" : " -x";
      lines.push(`${prefix} ${flags.join(" ")}${argument} -d ${fishQuoted(option.text)}`);
    }
  }
  return `${lines.join("\n")}\n`;
}
