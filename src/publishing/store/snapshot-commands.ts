// Stores the last command about each pin and rollback in a cluster: none is lost, and none comes back, if everything
// that the replicas share is lost.
import type { Database, RootDatabase } from "lmdb";
import type { StateName, Suite } from "../../base/names.ts";
import { written } from "../../base/state-errors.ts";

/** `id` is null when the name was removed, or the suite was resumed. */
export type SnapshotCommand =
  | { readonly kind: "pin"; readonly suite: Suite; readonly name: string; readonly id: string | null }
  | { readonly kind: "rollback"; readonly suite: Suite; readonly id: string | null };

/** A command that some replica has received. */
export interface KnownCommand {
  readonly command: SnapshotCommand;
  /** Of two commands about the same pin or suite, the one with the greater number counts. */
  readonly order: number;
  /** Whether it has had its effect here. */
  readonly isDone: boolean;
}

/** The last command about each pin and each suite, also those that have removed or resumed something. */
export class SnapshotCommands {
  readonly #commands: Database<KnownCommand, string>;

  /** @param root the state directory's database */
  constructor(root: RootDatabase, repository: StateName) {
    this.#commands = root.openDB({ name: `${repository}/snapshot-commands` });
  }

  /** @param subject see `subjectOf` */
  about(subject: string): KnownCommand | undefined {
    return this.#commands.get(subject);
  }

  all(): readonly KnownCommand[] {
    return Array.from(this.#commands.getRange(), ({ value }) => value);
  }

  /** Stores a command in place of the earlier one. */
  async put(known: KnownCommand): Promise<void> {
    await written(() => this.#commands.put(subjectOf(known.command), known));
  }
}

/** What a command is about: one with the same subject replaces it. */
export const subjectOf = (command: SnapshotCommand): string =>
  command.kind === "pin" ? `pin ${command.suite} ${command.name}` : `rollback ${command.suite}`;
