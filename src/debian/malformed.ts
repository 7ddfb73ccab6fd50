// Flaws of package files, with messages that help their maintainers to repair them.
import { limitMessage, RepoError } from "../base/errors.ts";

/** The kinds of flaws that a caller can distinguish. */
export type Flaw =
  | "not-a-deb"
  | "truncated"
  | "bad-control"
  | "bad-data"
  | "bad-dsc"
  | "bad-compression"
  | "unsupported-compression"
  | "limit";

/** A file is malformed. The cause is its bytes and not the storage: a second read would have the same result. */
export class Malformed extends RepoError {
  readonly code = "debian/malformed";
  readonly flaw: Flaw;
  constructor(flaw: Flaw, message: string, options?: ErrorOptions) {
    super(message, options);
    this.flaw = flaw;
  }
}

/**
 * A flaw of the kind `limit`.
 * @param limit the name of the setting in the code; the message names the configuration key
 */
export const limitFlaw = (limit: string, allowed: number, what: string): Malformed =>
  new Malformed("limit", limitMessage(limit, allowed, what));

/** Quotes untrusted text for a message: short, printable, on one line. */
export const quoted = (text: string): string => JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
