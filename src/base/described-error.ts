// How an error is written to the log: with a stack trace only if nobody expected it, and never with a cap.
import { getSystemErrorMap } from "node:util";
import { codeOf, messageOf, systemCodeOf } from "./errors.ts";
import { withoutCaps } from "./redact.ts";

/** An error as a plain object. */
export interface DescribedError {
  readonly message: string;
  /** The code of an error that can happen in operation, for example of an unreachable gateway or a full disk. */
  readonly code?: string;
  readonly cause?: string;
  /** The stack trace of an error without such a code, which is a bug. */
  readonly stack?: string;
}

/** Describes any thrown value. */
export function describedError(thrown: unknown): DescribedError {
  const message = withoutCaps(messageOf(thrown));
  const code = operationalCodeOf(thrown);
  if (code !== undefined) {
    const cause = thrown instanceof Error ? thrown.cause : undefined;
    return { message, code, ...(cause !== undefined && { cause: withoutCaps(messageOf(cause)) }) };
  }
  const stack = thrown instanceof Error ? thrown.stack : undefined;
  return { message, ...(stack !== undefined && { stack: withoutCaps(stack) }) };
}

/** @returns undefined for an error that only a bug can cause */
function operationalCodeOf(thrown: unknown): string | undefined {
  const known = codeOf(thrown);
  if (known !== "unknown") return known;
  const ofSystem = systemCodeOf(thrown);
  // Node.js gives its own errors such codes, most of which are about wrong arguments.
  if (ofSystem !== undefined && !ofSystem.startsWith("ERR_")) return ofSystem;
  // lmdb uses the numbers of system errors.
  const number = thrown instanceof Error && "code" in thrown && typeof thrown.code === "number" ? thrown.code : 0;
  return getSystemErrorMap().get(-Math.abs(number))?.[0];
}
