// What is wrong with a package file, told so that its maintainer can mend it.
import { limitMessage, RepoError } from "../base/errors.ts";

/** The kinds of flaw that a caller can tell apart. */
export type Flaw =
  | "not-a-deb"
  | "truncated"
  | "bad-control"
  | "bad-data"
  | "bad-dsc"
  | "bad-compression"
  | "unsupported-compression"
  | "limit";

/** The bytes are at fault, not their storage: reading them again would end the same way. */
export class Malformed extends RepoError {
  readonly code = "debian/malformed";
  readonly flaw: Flaw;
  constructor(flaw: Flaw, message: string, options?: ErrorOptions) {
    super(message, options);
    this.flaw = flaw;
  }
}

/** A flaw of the kind `limit`. @param limit the setting's name in the code; the message has the configuration's key */
export const limitFlaw = (limit: string, allowed: number, what: string): Malformed =>
  new Malformed("limit", limitMessage(limit, allowed, what));

/** Quotes untrusted text for a message: short, printable, on one line. */
export const quoted = (text: string): string => JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
