// What goes wrong with the state directory: told apart from what goes wrong with the tree.
import { setTimeout as delay } from "node:timers/promises";
import { getSystemErrorMap } from "node:util";
import { messageOf, RepoError } from "./errors.ts";

/** The state directory takes no writes now: its disk is full or read-only. What is in it stays readable. */
class StateUnwritable extends RepoError {
  readonly code = "state/unwritable";
}

/** How long to wait for the reason of a failed commit. */
const reasonTimeoutMs = 1000;

/** @throws StateUnwritable whatever the write throws */
export async function written<T>(write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (thrown) {
    const cause = await commitErrorOf(thrown);
    throw new StateUnwritable(`the state directory can't be written: ${reasonOf(cause)}`, { cause });
  }
}

/** lmdb rejects a write with "Commit failed", and a promise that is rejected a moment later with the reason. */
async function commitErrorOf(thrown: unknown): Promise<unknown> {
  if (!(thrown instanceof Error && "commitError" in thrown && thrown.commitError instanceof Promise)) return thrown;
  const failed = thrown.commitError.then(
    () => thrown,
    (reason: unknown) => reason,
  );
  return await Promise.race([failed, delay(reasonTimeoutMs, thrown, { ref: false })]);
}

/** lmdb's errors have the system's number as their code, and pages and addresses of memory in their messages. */
function reasonOf(cause: unknown): string {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  const known = typeof code === "number" ? getSystemErrorMap().get(-code) : undefined;
  return known?.[1] ?? messageOf(cause);
}
