// The end of a process that a test started, before what it writes to is removed.
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";

/** Kills the process if it still runs, and waits until it has ended. */
export async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}
