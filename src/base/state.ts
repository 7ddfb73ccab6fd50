// What goes wrong with the state directory: told apart from what goes wrong with the tree.
import { messageOf, RepoError } from "./errors.ts";

/** The state directory takes no writes now: its disk is full or read-only. What is in it stays readable. */
class StateUnwritable extends RepoError {
  readonly code = "state/unwritable";
}

/** @throws StateUnwritable whatever the write throws */
export async function written<T>(write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (cause) {
    throw new StateUnwritable(`the state directory can't be written: ${messageOf(cause)}`, { cause });
  }
}
