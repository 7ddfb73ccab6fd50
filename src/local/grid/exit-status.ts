// How a program that was started has ended.
import type { ChildProcess } from "node:child_process";

/**
 * @returns the exit status; null where a signal ended it
 * @throws what kept it from starting; signal.reason where it was called off
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
