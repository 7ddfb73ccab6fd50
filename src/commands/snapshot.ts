// `tahoe-apt snapshot`: a repository's kept publications: list and pin them, roll a suite back to one, and resume.
import type { Command } from "commander";
import { ask } from "../server/control-commands.ts";
import type { OperatorFlags } from "./shared/operator-flags.ts";
import { aboutOf, namesOf, stateOf, withOperatorFlags } from "./shared/operator-flags.ts";
import { print } from "./shared/terminal.ts";

const help = `
Each publication is kept for keep_seconds after the next one, and is a repository of its own at /NAME/snapshots/ID/
until then; a pinned one is kept for ever, at /NAME/snapshots/PIN/ too. A moment like 20261122T134500Z stands for what
was served then, and wherever an ID is asked for, a moment or a pin's name will do.

list shows a line for each: suite, ID, Date, how many packages it holds, and which came and went since the one before.

A suite that is rolled back serves the old content under a new Date, so that clients take it, and goes on following the
tree behind that; resume publishes what the tree holds then. Both survive a restart.

Examples:
  tahoe-apt snapshot list --config /etc/tahoe-apt.toml
  tahoe-apt snapshot pin 20261122T134500Z release-1 --config /etc/tahoe-apt.toml --suite sid
  tahoe-apt snapshot rollback 20261122T134500Z --config /etc/tahoe-apt.toml --suite sid
  tahoe-apt snapshot resume --config /etc/tahoe-apt.toml --suite sid

These speak to the running server by a socket in its state directory, so they are for who may write there; where no
server runs, they change the state for its next start. --suite and --repository are needed where there are several.

Exit codes: 0 done, 1 failed or refused, 2 wrong arguments or configuration.
`;

export function addSnapshot(commands: Command): void {
  const snapshot = commands
    .command("snapshot")
    .description("List and pin a repository's kept publications, roll a suite back to one, and resume.")
    .addHelpText("after", help);

  const sub = (name: string, description: string): Command =>
    withOperatorFlags(snapshot.command(name)).description(description);

  sub("list", "Show which publications are kept, and what is rolled back.").action(async (flags: OperatorFlags) => {
    const told = await ask(stateOf(flags), { ask: "snapshots", ...aboutOf(flags) }, namesOf(flags));
    if (flags.json) return await print(JSON.stringify(told));
    for (const { suite, id, isCurrent, pins, ...held } of told.snapshots) {
      const { servedSeconds, binaryPackages, sourcePackages, changes } = held;
      const iso = new Date(servedSeconds * 1000).toISOString();
      const when = iso.replace("T", " ").replace(/\.000Z$/, " UTC");
      const counts = `${binaryPackages} binary, ${sourcePackages} source`;
      const marks = [...(isCurrent ? ["(current)"] : []), ...pins];
      await print([suite, id, when, `${counts},`, changed(changes), ...marks].join(" "));
    }
    for (const { suite, id } of told.rolledBack) await print(`${suite} is rolled back to ${id}`);
  });

  sub("pin", "Keep a publication for ever, under a name.")
    .argument("<id>", "the publication's, or a moment")
    .argument("<name>", "letters, digits and . _ -")
    .action(async (when: string, name: string, flags: OperatorFlags) => {
      const told = await ask(stateOf(flags), { ask: "pin", when, name, ...aboutOf(flags) }, namesOf(flags));
      await print(flags.json ? JSON.stringify(told) : `${told.suite}: ${told.id} is kept as ${name}`);
    });

  sub("unpin", "Let go of a name: its publication is kept as long as any other.")
    .argument("<name>")
    .action(async (name: string, flags: OperatorFlags) => {
      const told = await ask(stateOf(flags), { ask: "unpin", name, ...aboutOf(flags) }, namesOf(flags));
      await print(flags.json ? JSON.stringify(told) : `${told.suite}: ${told.id} is no longer kept as ${name}`);
    });

  sub("rollback", "Serve what a publication held, under a new Date, until resume.")
    .argument("<id>", "the publication's, a moment, or a pin's name")
    .action(async (when: string, flags: OperatorFlags) => {
      const told = await ask(stateOf(flags), { ask: "rollback", when, ...aboutOf(flags) }, namesOf(flags));
      const { suite, id, isLive } = told;
      const text = isLive
        ? `${suite} serves what ${id} held`
        : `${suite} will serve what ${id} held: no server runs now`;
      await print(flags.json ? JSON.stringify(told) : `${text}; \`snapshot resume\` ends it`);
    });

  sub("resume", "Serve what the tree holds again.").action(async (flags: OperatorFlags) => {
    const told = await ask(stateOf(flags), { ask: "resume", ...aboutOf(flags) }, namesOf(flags));
    const { suite, isLive } = told;
    const text = isLive ? `${suite} serves what the tree holds` : `${suite} will follow the tree: no server runs now`;
    await print(flags.json ? JSON.stringify(told) : text);
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

/** How many packages of each direction a line names. */
const namedOnLine = 3;

/** What came and went since the snapshot before. */
function changed(changes: Changes | undefined): string {
  if (changes === undefined) return "the oldest kept";
  const { added, removed, addedCount, removedCount } = changes;
  if (addedCount + removedCount === 0) return "the same packages";
  const some = (sign: string, count: number, listed: readonly Listed[]): readonly string[] => {
    const named = listed.slice(0, namedOnLine).map((one) => `${sign}${one.package} ${one.version} ${one.architecture}`);
    return count > named.length ? [...named, `${sign}${count - named.length} more`] : named;
  };
  return [...some("+", addedCount, added), ...some("-", removedCount, removed)].join(", ");
}
