// The base class of all errors that a caller can distinguish: by class and by `code`, never by message.
import type { ErrorCode } from "./error-codes.ts";

/** An error with a stable code. Its message may reach a log or a reply, so it never contains a cap, token or key. */
export abstract class RepoError extends Error {
  abstract readonly code: ErrorCode;
  override get name(): string {
    return this.constructor.name;
  }
}

/** The configuration key of a setting: `max_dsc_bytes` for `maxDscBytes`. */
export const configurationKey = (name: string): string =>
  name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/**
 * A message about an exceeded limit, which names the configuration key of the limit.
 * @param limit the name of the setting in the code; undefined for a fixed limit
 */
export const limitMessage = (limit: string | undefined, allowed: number, what: string): string =>
  `${what} is beyond ${limit === undefined ? "" : `${configurationKey(limit)} = `}${allowed}`;

/** A limit was exceeded. */
export class LimitExceeded extends RepoError {
  readonly code = "limit/exceeded";
  /** @param limit the name of the setting in the code; undefined for a fixed limit */
  constructor(limit: string | undefined, allowed: number, what: string) {
    super(limitMessage(limit, allowed, what));
  }
}

/** The message of any thrown value, for a log line. */
export const messageOf = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown));

/** Any thrown value as an Error. */
export const errorOf = (thrown: unknown): Error => (thrown instanceof Error ? thrown : new Error(messageOf(thrown)));

/** The code of a system error, e.g. ENOENT; undefined for other errors. */
export function systemCodeOf(thrown: unknown): string | undefined {
  const code = thrown instanceof Error && "code" in thrown ? thrown.code : undefined;
  return typeof code === "string" && /^[A-Z][A-Z0-9_]{1,40}$/.test(code) ? code : undefined;
}

/** A few words that say why a file cannot be used. */
export function fileReasonOf(thrown: unknown): string {
  const reasons = new Map([
    ["ENOENT", "no such file or directory"],
    ["EACCES", "permission denied"],
    ["EISDIR", "is a directory"],
    ["ENOTDIR", "not a directory"],
  ]);
  return reasons.get(systemCodeOf(thrown) ?? "") ?? messageOf(thrown);
}

/** The stable code of any thrown value; "unknown" if it is not a RepoError. */
export const codeOf = (thrown: unknown): ErrorCode => (thrown instanceof RepoError ? thrown.code : "unknown");
