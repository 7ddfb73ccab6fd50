// The machine and the versions that figures belong to.
import { cpus, loadavg, release, totalmem } from "node:os";
import lzma from "lzma-native";
import { isInstalled, run } from "./commands.ts";
import type { Tool } from "./tools.ts";

export interface Surroundings {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly kernel: string;
  readonly loadBefore: readonly number[];
  readonly commit: string;
  readonly command: string;
  readonly at: string;
  /** One for each tool that is there, with its name. */
  readonly versions: readonly string[];
}

export async function surroundingsOf(
  tools: readonly Tool[],
  command: string,
  directory: string,
  signal: AbortSignal,
): Promise<Surroundings> {
  const loadBefore = loadavg();
  const git = async (...args: readonly string[]) =>
    (await run("git", args, { cwd: directory, signal })).stdout.toString().trim();
  const changed = await git("status", "--porcelain", "--", "src");
  const optimised = await import("node-liblzma").catch(() => undefined);
  const versions = [
    `Node.js ${process.versions.node}`,
    ...(optimised === undefined ? [] : [`liblzma ${optimised.versionString()} of node-liblzma`]),
    `liblzma ${lzma.versionString()} of lzma-native`,
  ];
  for (const tool of tools.filter(({ program }) => isInstalled(program))) {
    const { stdout } = await run("dpkg-query", ["-W", tool.debianPackage], { signal });
    versions.push(`${tool.program} ${stdout.toString().trim().split("\t")[1]}`);
  }
  return {
    cpu: cpus()[0]?.model ?? "unknown",
    cores: cpus().length,
    memoryBytes: totalmem(),
    kernel: release(),
    loadBefore,
    commit: `${await git("rev-parse", "--short", "HEAD")}${changed === "" ? "" : " with changes in src"}`,
    command,
    at: new Date().toISOString().slice(0, 16).replace("T", " "),
    versions,
  };
}
