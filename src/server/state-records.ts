// Reads the records of a backup from the state database: through the server that uses it, or directly if none runs. They
// pass the control socket as lines of JSON.
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import type { RootDatabase } from "lmdb";
import { z } from "zod";
import { systemClock } from "../base/clock.ts";
import { RepoError } from "../base/errors.ts";
import { silentLog } from "../base/log.ts";
import { yieldToEventLoop } from "../base/yield-to-event-loop.ts";
import type { LastingRecord } from "../publishing/store/lasting-records.ts";
import { isBinaryDatabase, LastingRecords } from "../publishing/store/lasting-records.ts";
import { closeStateDatabase, openStateDatabase } from "../publishing/store/state-database.ts";
import { databaseIn } from "./state-directory.ts";
import { claimStateForCommand, openAnswer } from "./state-lock.ts";
import { checkState } from "./state-version.ts";

/** The command that a running server answers with lines. */
export const backupCommand = "backup";

/** The state could not be read completely. */
class BackupFailed extends RepoError {
  readonly code = "backup/failed";
}

const line = z.union([
  z.strictObject({ dates: z.record(z.string(), z.number()) }),
  z.strictObject({ database: z.string(), key: z.string(), value: z.unknown() }),
  z.strictObject({ database: z.string(), key: z.string(), base64: z.string() }),
  z.strictObject({ end: z.literal(true) }),
]);

/** The first item is the last Date of each suite; all others are records. */
export type StateItem = { readonly dates: ReadonlyMap<string, number> } | LastingRecord;

/** Returns the line for a record, without its end. */
export function formatRecord({ database, key, value }: LastingRecord): string {
  return JSON.stringify(
    value instanceof Uint8Array
      ? { database, key, base64: Buffer.from(value).toString("base64") }
      : { database, key, value },
  );
}

/** Parses a line of `formatRecord`. @throws ZodError, SyntaxError */
export function parseRecord(text: string): LastingRecord {
  const record = line.parse(JSON.parse(text));
  if (!("database" in record)) throw new SyntaxError("the line is not a record");
  if (!("base64" in record)) return { ...record, value: record.value };
  const { database, key, base64 } = record;
  if (!isBinaryDatabase(database)) throw new SyntaxError(`${database} does not contain bytes`);
  return { database, key, value: Buffer.from(base64, "base64") };
}

/** The answer of a running server: its state at one moment, line by line. */
export async function* backupLines(root: RootDatabase): AsyncIterable<string> {
  const records = new LastingRecords(root, systemClock());
  const yieldNow = yieldToEventLoop();
  try {
    yield `${JSON.stringify({ dates: Object.fromEntries(records.dates(new Map())) })}\n`;
    for (const record of records) {
      yield `${formatRecord(record)}\n`;
      await yieldNow();
    }
    yield `${JSON.stringify({ end: true })}\n`;
  } finally {
    records.close();
  }
}

/**
 * Reads the state at one moment, beside a running server or without one.
 * @throws BackupFailed, StateTooNew, RestoreUnfinished, StateInUse
 */
export async function* stateItems(directory: string): AsyncIterable<StateItem> {
  if (!existsSync(databaseIn(directory))) throw new BackupFailed(`${directory} holds no server's state`);
  const answer = await openAnswer(directory, JSON.stringify({ ask: backupCommand }));
  if (answer === undefined) yield* itemsOfStopped(directory);
  else yield* itemsIn(createInterface({ input: answer }));
}

async function* itemsIn(lines: AsyncIterable<string>): AsyncIterable<StateItem> {
  for await (const text of lines) {
    const parsed = line.safeParse(JSON.parse(text));
    if (!parsed.success) {
      const refused = z.object({ refused: z.string() }).safeParse(JSON.parse(text)).data?.refused;
      throw new BackupFailed(
        `the running server does not back up its state; is it an older version? ${refused ?? ""}`.trim(),
      );
    }
    if ("end" in parsed.data) return;
    yield "dates" in parsed.data ? { dates: new Map(Object.entries(parsed.data.dates)) } : parseRecord(text);
  }
  throw new BackupFailed("the server stopped before the backup was complete: repeat the command");
}

async function* itemsOfStopped(directory: string): AsyncIterable<StateItem> {
  const unlock = await claimStateForCommand(directory, (reason) => new BackupFailed(reason));
  try {
    checkState(directory, silentLog);
    const root = openStateDatabase(databaseIn(directory));
    try {
      const records = new LastingRecords(root, systemClock());
      try {
        yield { dates: records.dates(new Map()) };
        yield* records;
      } finally {
        records.close();
      }
    } finally {
      await closeStateDatabase(root);
    }
  } finally {
    await unlock();
  }
}
