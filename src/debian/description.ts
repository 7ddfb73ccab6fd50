// A package's description: the line that lists show, and the whole that has an index of its own.
import { createHash } from "node:crypto";
import type { Stanza } from "./stanza.ts";
import { fieldOf } from "./stanza.ts";

export interface Description {
  /** The first line. */
  readonly short: string;
  /** All of it, its further lines as they stand in the control stanza. */
  readonly whole: string;
  /** Lower-case hex: by it apt finds the whole description to a package, of an index as of what is installed. */
  readonly md5: string;
}

/**
 * Blanks and line ends around it do not count, and one line end at its end does: as apt and apt-ftparchive have it.
 * @returns undefined for a package that describes itself with no word
 */
export function descriptionOf(control: Stanza): Description | undefined {
  const whole = trim(fieldOf(control, "Description") ?? "");
  if (whole === "") return undefined;
  const [short = ""] = whole.split("\n", 1);
  return { short, whole, md5: createHash("md5").update(`${whole}\n`).digest("hex") };
}

/** Not by a pattern, which would look for the end from every blank, and not by String.trim, which knows more of them. */
function trim(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isBlank(text[start])) start++;
  while (end > start && isBlank(text[end - 1])) end--;
  return text.slice(start, end);
}

const isBlank = (character: string | undefined): boolean =>
  character === " " || character === "\t" || character === "\n";
