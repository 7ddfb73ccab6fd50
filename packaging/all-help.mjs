// Preloaded before cli.js, makes `--help` print the help of all commands as JSON: [{ "words": […], "text": "…" }, …].
import { Command } from "commander";

const { outputHelp } = Command.prototype;

function helpOf(command, words) {
  let text = "";
  command.configureOutput({ writeOut: (more) => (text += more) });
  outputHelp.call(command);
  const below = command.commands.flatMap((each) => helpOf(each, [...words, each.name()]));
  return [{ words, text }, ...below];
}

Command.prototype.outputHelp = function printAll() {
  process.stdout.write(JSON.stringify(helpOf(this, [])));
};
