// A prepared repository, copied for one run: linked where files are replaced whole, else copied in truth.
import { existsSync, renameSync } from "node:fs";
import { join } from "node:path";
import { run } from "../commands.ts";

/** Makes what is not there yet, whole at once. */
export async function prepared(path: string, make: (path: string) => Promise<void>): Promise<string> {
  if (existsSync(path)) return path;
  const making = `${path}.making-${process.pid}`;
  await make(making);
  renameSync(making, path);
  return path;
}

/** @param writtenInto names of directories whose files are changed in place */
export async function copyForRun(
  from: string,
  to: string,
  writtenInto: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  await run("cp", ["-al", `${from}/.`, to], { signal });
  for (const name of writtenInto) {
    await run("rm", ["-r", join(to, name)], { signal });
    await run("cp", ["-a", join(from, name), join(to, name)], { signal });
  }
}

/** Calls with as many of the files of a directory at once as a command line may hold. */
export async function inBatches(files: readonly string[], call: (batch: readonly string[]) => Promise<unknown>) {
  const filesPerCall = 1000;
  for (let at = 0; at < files.length; at += filesPerCall) await call(files.slice(at, at + filesPerCall));
}
