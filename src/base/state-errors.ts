// Errors of the state directory, as distinct from errors of the tree.
import { setTimeout as delay } from "node:timers/promises";
import { getSystemErrorMap } from "node:util";
import { messageOf, RepoError } from "./errors.ts";

/** The state directory cannot be written: its disk is full or read-only. Its content stays readable. */
class StateUnwritable extends RepoError {
  readonly code = "state/unwritable";
}

/** How long to wait for the cause of a failed commit. */
const causeTimeoutMs = 1000;

/** Runs a write. @throws StateUnwritable in place of any error of the write */
export async function written<T>(write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (thrown) {
    const cause = await commitErrorOf(thrown);
    throw new StateUnwritable(`the state directory cannot be written: ${reasonOf(cause)}`, { cause });
  }
}

/** lmdb rejects a write with "Commit failed" and with a promise that is rejected a moment later with the cause. */
async function commitErrorOf(thrown: unknown): Promise<unknown> {
  if (!(thrown instanceof Error && "commitError" in thrown && thrown.commitError instanceof Promise)) return thrown;
  const failed = thrown.commitError.then(
    () => thrown,
    (reason: unknown) => reason,
  );
  return await Promise.race([failed, delay(causeTimeoutMs, thrown, { ref: false })]);
}

/** The errors of lmdb have the number of the system error as their code; their messages contain memory addresses. */
function reasonOf(cause: unknown): string {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  const known = typeof code === "number" ? getSystemErrorMap().get(-code) : undefined;
  return known?.[1] ?? messageOf(cause);
}
