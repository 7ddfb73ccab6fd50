// Reads a file of settings again when it changes, so that a running server needs no restart.
import { statSync } from "node:fs";
import { messageOf } from "../base/errors.ts";

/**
 * Reads a file now, and again when it has changed.
 * @param read reads and parses the file
 * @returns a function that returns the current value; if a changed file cannot be read, it returns the previous value
 * and
 *   passes one complaint to `complain`
 * @throws errors of the first `read`
 */
export function rereadWhenChanged<Value>(
  file: string,
  read: (complain: (text: string) => void) => Value,
  complainNow: (text: string) => void,
): (complain: (text: string) => void) => Value {
  let version = versionOf(file);
  let value = read(complainNow);
  let complaint: string | undefined;
  return (complain) => {
    const present = versionOf(file);
    if (present === version) return value;
    try {
      value = read(complain);
      version = present;
      complaint = undefined;
    } catch (thrown) {
      // Retried on every call, because the cause may be another file that is written later.
      const text = `${messageOf(thrown)}; the settings in it stay as they were`;
      if (text !== complaint) complain(text);
      complaint = text;
    }
    return value;
  };
}

/** Returns a string that changes when the file is written or replaced. */
function versionOf(file: string): string {
  try {
    const { ino, size, mtimeNs, ctimeNs } = statSync(file, { bigint: true });
    return [ino, size, mtimeNs, ctimeNs].join(" ");
  } catch (thrown) {
    return messageOf(thrown);
  }
}
