// The error for a repository whose signatures, dates, sizes or digests are wrong.
import type { ErrorCode } from "../base/error-codes.ts";
import { RepoError } from "../base/errors.ts";

export type UnusableCode = Extract<ErrorCode, `upstream/${string}`>;

/** Nothing of the repository may be used. The message says what is wrong with which file, and what to do. */
export class UnusableRepository extends RepoError {
  readonly code: UnusableCode;
  /** The file, relative to the repository's root. */
  readonly file: string;
  readonly reason: string;

  constructor(code: UnusableCode, file: string, reason: string) {
    super(`${file}: ${reason}`);
    this.code = code;
    this.file = file;
    this.reason = reason;
  }
}
