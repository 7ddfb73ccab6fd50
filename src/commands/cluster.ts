// `tahoe-apt cluster status`: the replicas, who publishes which repository, and what is wrong.
import type { Command } from "commander";
import { ask } from "../server/control-commands.ts";
import type { ControlFlags } from "./shared/control-flags.ts";
import { stateDirectoryOf } from "./shared/control-flags.ts";
import { print } from "./shared/terminal.ts";

const help = `
Shows what the running server on this machine knows of its cluster: each replica with its version, where it listens and
how far it is behind, who publishes each repository, whether Valkey answers, and what is wrong. The replica that answers
is marked with *.

The command uses the socket in the state directory, which requires write access to it.

Examples:
  tahoe-apt cluster status --config /etc/tahoe-apt.toml
  tahoe-apt cluster status --config /etc/tahoe-apt.toml --json

Exit codes: 0 all is well, 1 failed, no server is running or it belongs to no cluster, 2 wrong arguments or
configuration, 3 something is wrong.
`;

const somethingIsWrong = 3;

export function addCluster(commands: Command): void {
  const cluster = commands
    .command("cluster")
    .description("Show the replicas of a cluster, and what is wrong.")
    .addHelpText("after", help);
  cluster
    .command("status")
    .description("Show the replicas, the publisher of each repository, and what is wrong.")
    .option("--config <file>", "the server's configuration")
    .option("--state <directory>", "the server's state directory, if it has no configuration file")
    .option("--json", "print the result as one JSON object")
    .action(async (flags: Pick<ControlFlags, "config" | "state" | "json">) => {
      const status = await ask(stateDirectoryOf(flags), { ask: "cluster" }, []);
      const { self, valkey, replicas, repositories, problems } = status;
      if (problems.length > 0) process.exitCode = somethingIsWrong;
      if (flags.json === true) return await print(JSON.stringify(status));
      const silent =
        valkey.silentSeconds === undefined ? "never answered" : `answered ${seconds(valkey.silentSeconds)} ago`;
      await print(`Valkey: ${valkey.isConnected ? "connected" : "not connected"}, ${silent}`);
      for (const { id, version, address, startedSeconds, isServing, lagSeconds } of replicas) {
        const state = isServing
          ? lagSeconds === 0
            ? "serves everything"
            : `${seconds(lagSeconds)} behind`
          : "not ready";
        const started = new Date(startedSeconds * 1000)
          .toISOString()
          .replace("T", " ")
          .replace(/\.000Z$/, " UTC");
        await print(`${id === self ? "*" : " "} ${address} ${version}, since ${started}: ${state} (${id})`);
      }
      for (const { name, publisher, leaseChanges } of repositories) {
        const address = replicas.find(({ id }) => id === publisher)?.address ?? publisher;
        const changes = `${leaseChanges} ${leaseChanges === 1 ? "change" : "changes"} seen`;
        await print(`${name}: published by ${address ?? "nobody"}, ${changes}`);
      }
      for (const problem of problems) await print(`problem: ${problem}`);
    });
}

const seconds = (value: number): string => `${value < 10 ? value.toFixed(1) : Math.round(value)} s`;
