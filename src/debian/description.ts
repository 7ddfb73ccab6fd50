// The description of a package: the short form for lists, and the long form, which has an index of its own.
import { createHash } from "node:crypto";
import { trim } from "./deb822.ts";
import type { Stanza } from "./stanza.ts";
import { fieldOf } from "./stanza.ts";

export interface Description {
  /** The first line. */
  readonly short: string;
  /** The whole text, with its further lines as in the control stanza. */
  readonly whole: string;
  /** Lower-case hex. apt finds the long description of a package by this digest. */
  readonly md5: string;
}

/**
 * Reads the description. As in apt and apt-ftparchive, the digest is that of the text without blanks and line ends
 * around it, followed by one line end.
 * @returns undefined if there is no description
 */
export function descriptionOf(control: Stanza): Description | undefined {
  const whole = trim(fieldOf(control, "Description") ?? "", " \t\n");
  if (whole === "") return undefined;
  const [short = ""] = whole.split("\n", 1);
  return { short, whole, md5: createHash("md5").update(`${whole}\n`).digest("hex") };
}
