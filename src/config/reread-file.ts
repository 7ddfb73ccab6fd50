// A file of settings that is read anew when it has changed, so that a running server needs no restart.
import { statSync } from "node:fs";
import { messageOf } from "../base/errors.ts";

/**
 * @param read parses the file; called now, and again when the file has changed
 * @returns what gives the present value; where the changed file can't be read, the value stays, and `complain` is told
 * of it once
 * @throws what `read` throws now
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
      // Tried again each time, because what is wrong may be another file that comes later.
      const text = `${messageOf(thrown)}; the settings in it stay as they were`;
      if (text !== complaint) complain(text);
      complaint = text;
    }
    return value;
  };
}

/** Whoever writes the file gives it another time, or puts another file in its place. */
function versionOf(file: string): string {
  try {
    const { ino, size, mtimeNs, ctimeNs } = statSync(file, { bigint: true });
    return [ino, size, mtimeNs, ctimeNs].join(" ");
  } catch (thrown) {
    return messageOf(thrown);
  }
}
