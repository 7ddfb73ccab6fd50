// `tahoe-apt snapshot`: lists and pins snapshots (kept publications), rolls a suite back to one, and ends a rollback.
import type { Command } from "commander";
import { ask } from "../server/control-commands.ts";
import type { ControlFlags } from "./shared/control-flags.ts";
import { repositoryNamesOf, selectionOf, stateDirectoryOf, withControlFlags } from "./shared/control-flags.ts";
import { print } from "./shared/terminal.ts";

const help = `
Each publication is kept for keep_seconds after the next one, and is available until then as a repository at
/NAME/snapshots/ID/. A pinned publication is kept forever, also at /NAME/snapshots/PIN/. A time like 20261122T134500Z
means the publication that was served at that time. Instead of an ID, you can always give a time or the name of a pin.

list shows a line for each snapshot: suite, ID, Date, number of packages, and changes since the previous snapshot.

After a rollback, the suite serves the old contents with a new Date, so that clients accept it. In the background the
server still follows the tree; resume publishes the contents of the tree again. Both survive a restart.

Examples:
  tahoe-apt snapshot list --config /etc/tahoe-apt.toml
  tahoe-apt snapshot pin 20261122T134500Z release-1 --config /etc/tahoe-apt.toml --suite sid
  tahoe-apt snapshot rollback 20261122T134500Z --config /etc/tahoe-apt.toml --suite sid
  tahoe-apt snapshot resume --config /etc/tahoe-apt.toml --suite sid

These commands use a socket in the state directory of the running server, so they require write access to it. If no
server is running, they change the state for its next start. --suite and --repository are required if there are several.

Exit codes: 0 done, 1 failed or refused, 2 wrong arguments or configuration.
`;

export function addSnapshot(commands: Command): void {
  const snapshot = commands
    .command("snapshot")
    .description("List and pin a repository's kept publications, roll a suite back to one, and resume.")
    .addHelpText("after", help);

  const subcommand = (name: string, description: string): Command =>
    withControlFlags(snapshot.command(name)).description(description);

  subcommand("list", "Show the kept publications and the suites that are rolled back.").action(
    async (flags: ControlFlags) => {
      const response = await ask(
        stateDirectoryOf(flags),
        { ask: "snapshots", ...selectionOf(flags) },
        repositoryNamesOf(flags),
      );
      if (flags.json) return await print(JSON.stringify(response));
      for (const { suite, id, isCurrent, pins, ...contents } of response.snapshots) {
        const { servedSeconds, binaryPackages, sourcePackages, changes } = contents;
        const iso = new Date(servedSeconds * 1000).toISOString();
        const when = iso.replace("T", " ").replace(/\.000Z$/, " UTC");
        const counts = `${binaryPackages} binary, ${sourcePackages} source`;
        const marks = [...(isCurrent ? ["(current)"] : []), ...pins];
        await print([suite, id, when, `${counts},`, describeChanges(changes), ...marks].join(" "));
      }
      for (const { suite, id } of response.rolledBack) await print(`${suite} is rolled back to ${id}`);
    },
  );

  subcommand("pin", "Keep a publication forever, under a name.")
    .argument("<id>", "the publication's ID, or a time")
    .argument("<name>", "the name of the pin: letters, digits and . _ -")
    .action(async (when: string, name: string, flags: ControlFlags) => {
      const response = await ask(
        stateDirectoryOf(flags),
        { ask: "pin", when, name, ...selectionOf(flags) },
        repositoryNamesOf(flags),
      );
      await print(flags.json ? JSON.stringify(response) : `${response.suite}: ${response.id} is kept as ${name}`);
    });

  subcommand("unpin", "Remove a pin: its publication is then kept only for keep_seconds.")
    .argument("<name>")
    .action(async (name: string, flags: ControlFlags) => {
      const response = await ask(
        stateDirectoryOf(flags),
        { ask: "unpin", name, ...selectionOf(flags) },
        repositoryNamesOf(flags),
      );
      await print(
        flags.json ? JSON.stringify(response) : `${response.suite}: ${response.id} is no longer kept as ${name}`,
      );
    });

  subcommand("rollback", "Serve the contents of a publication, with a new Date, until resume.")
    .argument("<id>", "the publication's ID, a time, or the name of a pin")
    .action(async (when: string, flags: ControlFlags) => {
      const response = await ask(
        stateDirectoryOf(flags),
        { ask: "rollback", when, ...selectionOf(flags) },
        repositoryNamesOf(flags),
      );
      const { suite, id, isLive } = response;
      const text = isLive
        ? `${suite} serves the contents of ${id}`
        : `${suite} will serve the contents of ${id} when a server starts: none is running`;
      await print(flags.json ? JSON.stringify(response) : `${text}; \`snapshot resume\` ends the rollback`);
    });

  subcommand("resume", "Serve the contents of the tree again.").action(async (flags: ControlFlags) => {
    const response = await ask(
      stateDirectoryOf(flags),
      { ask: "resume", ...selectionOf(flags) },
      repositoryNamesOf(flags),
    );
    const { suite, isLive } = response;
    const text = isLive
      ? `${suite} serves the contents of the tree`
      : `${suite} will follow the tree when a server starts: none is running`;
    await print(flags.json ? JSON.stringify(response) : text);
  });
}

interface Changes {
  readonly addedCount: number;
  readonly removedCount: number;
  readonly added: readonly Listed[];
  readonly removed: readonly Listed[];
}

interface Listed {
  readonly package: string;
  readonly version: string;
  readonly architecture: string;
}

/** How many added packages, and how many removed ones, a line names. */
const maxNamedOnLine = 3;

/** Describes the changes since the previous snapshot. */
function describeChanges(changes: Changes | undefined): string {
  if (changes === undefined) return "oldest snapshot";
  const { added, removed, addedCount, removedCount } = changes;
  if (addedCount + removedCount === 0) return "the same packages";
  const summarize = (sign: string, count: number, listed: readonly Listed[]): readonly string[] => {
    const named = listed
      .slice(0, maxNamedOnLine)
      .map((one) => `${sign}${one.package} ${one.version} ${one.architecture}`);
    return count > named.length ? [...named, `${sign}${count - named.length} more`] : named;
  };
  return [...summarize("+", addedCount, added), ...summarize("-", removedCount, removed)].join(", ");
}
