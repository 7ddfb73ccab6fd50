// The root of all errors that a caller can tell apart: by class and by `code`, never by message.
import type { ErrorCode } from "./error-codes.ts";

/** An error with a stable code. Its message may reach a log or a reply, so it never holds a cap, token or key. */
export abstract class RepoError extends Error {
  abstract readonly code: ErrorCode;
  override get name(): string {
    return this.constructor.name;
  }
}

/** A setting's name in the code as the key that the configuration has for it: `maxDscBytes` is `max_dsc_bytes`. */
export const configurationKey = (name: string): string =>
  name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** Says that something is beyond a limit, and names the limit as the configuration does. @param limit undefined: fixed */
export const beyondText = (limit: string | undefined, allowed: number, what: string): string =>
  `${what} is beyond ${limit === undefined ? "" : `${configurationKey(limit)} = `}${allowed}`;

/** A limit was passed. */
export class LimitExceeded extends RepoError {
  readonly code = "limit/exceeded";
  /** @param limit the setting's name in the code; undefined for a limit that the configuration does not have */
  constructor(limit: string | undefined, allowed: number, what: string) {
    super(beyondText(limit, allowed, what));
  }
}

/** The message of anything thrown, for a log line. */
export const messageOf = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown));

/** Anything thrown as an Error. */
export const errorOf = (thrown: unknown): Error => (thrown instanceof Error ? thrown : new Error(messageOf(thrown)));

/** The system's code for what went wrong, e.g. ENOENT; undefined for what the system did not throw. */
export function systemCodeOf(thrown: unknown): string | undefined {
  const code = thrown instanceof Error && "code" in thrown ? thrown.code : undefined;
  return typeof code === "string" && /^[A-Z][A-Z0-9_]{1,40}$/.test(code) ? code : undefined;
}

/** Why a file can't be used, in a few words. */
export function fileReasonOf(thrown: unknown): string {
  const reasons = new Map([
    ["ENOENT", "no such file or directory"],
    ["EACCES", "may not be read"],
    ["EISDIR", "is a directory"],
    ["ENOTDIR", "a file is in the way"],
  ]);
  return reasons.get(systemCodeOf(thrown) ?? "") ?? messageOf(thrown);
}

/** The stable code of anything thrown, "unknown" for what is no RepoError. */
export const codeOf = (thrown: unknown): ErrorCode => (thrown instanceof RepoError ? thrown.code : "unknown");
