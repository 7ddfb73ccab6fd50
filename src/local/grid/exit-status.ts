// Waits for the exit of a child process.
import type { ChildProcess } from "node:child_process";

/**
 * @returns the exit status; null if a signal terminated the process
 * @throws the error if the process cannot be started; signal.reason
 */
export async function exitStatus(child: ChildProcess, signal: AbortSignal): Promise<number | null> {
  try {
    return await new Promise<number | null>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", resolve);
    });
  } catch (thrown) {
    signal.throwIfAborted();
    throw thrown;
  }
}
