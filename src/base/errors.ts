// The root of all errors that a caller can tell apart: by class and by `code`, never by message.

/** An error with a stable code. Its message may reach a log or a reply, so it never holds a cap, token or key. */
export abstract class RepoError extends Error {
  abstract readonly code: string;
  override get name(): string {
    return this.constructor.name;
  }
}

/** A named limit was passed. `limit` is the constant's name, `allowed` its value in the unit of that name. */
export class LimitExceeded extends RepoError {
  readonly code = "limit/exceeded";
  readonly limit: string;
  readonly allowed: number;
  constructor(limit: string, allowed: number, what: string) {
    super(`${what} is beyond ${limit} = ${allowed}`);
    this.limit = limit;
    this.allowed = allowed;
  }
}

/** The message of anything thrown, for a log line. */
export const messageOf = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown));

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
export const codeOf = (thrown: unknown): string => (thrown instanceof RepoError ? thrown.code : "unknown");
