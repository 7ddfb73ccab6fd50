// The version of the state directory: a program refuses a directory that a newer one has changed incompatibly.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { messageOf, RepoError, systemCodeOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { ownVersion } from "../base/own-version.ts";
import { replaceFile } from "../base/replace-file.ts";

/**
 * The format of the state directory. It is raised when older programs would misread the state. A program reads all
 * earlier formats, and ignores fields and databases that it does not know. Version 0.1.0 wrote format 1 without a mark.
 */
export const stateFormat = 1;

const markName = "version.json";
/** Exists while a restore is not complete. */
const unfinishedName = "restore-unfinished";

const mark = z.object({ format: z.number().int().positive(), program: z.string() });

/** A newer program has changed the state directory. */
class StateTooNew extends RepoError {
  readonly code = "state/too-new";
}

/** The state directory contains only a part of a backup. */
class RestoreUnfinished extends RepoError {
  readonly code = "state/restore-unfinished";
}

export const unfinishedMarkIn = (directory: string): string => join(directory, unfinishedName);

/** Whether a name in a state directory belongs to the lock or to an interrupted restore, and not to a server's state. */
export const isMarkOrLock = (name: string): boolean => name === unfinishedName || name.startsWith("in-use");

/** @throws StateTooNew, RestoreUnfinished */
export function checkState(directory: string, log: Log): void {
  if (existsSync(unfinishedMarkIn(directory))) {
    throw new RestoreUnfinished(
      `a restore into ${directory} was interrupted: repeat it with the same command, or empty the directory`,
    );
  }
  const found = readMark(directory, log);
  if (found !== undefined) rejectNewer(found, directory);
}

/** @throws StateTooNew */
export function rejectNewer({ format, program }: z.infer<typeof mark>, what: string): void {
  if (format <= stateFormat) return;
  throw new StateTooNew(
    `${what} is from tahoe-apt ${program}, whose state has format ${format}; this is tahoe-apt ${ownVersion()}, which ` +
      `knows formats up to ${stateFormat}: install ${program} or later, or restore a backup that an older version made`,
  );
}

/** Marks the state directory as written by this program. A failure is logged: the disk may be full. */
export async function markState(directory: string, log: Log): Promise<void> {
  const text = `${JSON.stringify({ format: stateFormat, program: ownVersion() })}\n`;
  const file = join(directory, markName);
  try {
    if (textOf(file) !== text) await replaceFile(file, text, { mode: 0o600 });
  } catch (thrown) {
    log.warn({ file, error: messageOf(thrown) }, "the state directory cannot be written");
  }
}

/** @returns undefined if there is none, or if it is damaged, which is logged */
function readMark(directory: string, log: Log): z.infer<typeof mark> | undefined {
  const file = join(directory, markName);
  try {
    const text = textOf(file);
    return text === undefined ? undefined : mark.parse(JSON.parse(text));
  } catch (thrown) {
    log.warn({ file, error: messageOf(thrown) }, "the version of the state directory could not be read");
    return undefined;
  }
}

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch (thrown) {
    if (systemCodeOf(thrown) === "ENOENT") return undefined;
    throw thrown;
  }
}
