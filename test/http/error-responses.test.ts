// How errors become HTTP replies: by their code, and without anything that clients must not see.
import { expect, test } from "vitest";
import type { ErrorCode } from "../../src/base/error-codes.ts";
import { LimitExceeded, RepoError } from "../../src/base/errors.ts";
import { errorResponseOf } from "../../src/http/error-responses.ts";

/** An error with any code, as another part of the program may throw it. */
class AnyError extends RepoError {
  readonly code: ErrorCode;
  constructor(code: ErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

test("an error that a request may meet is shown with its status, code and text", () => {
  const { status, code, body } = errorResponseOf(new LimitExceeded("maxEntries", 10, "the number of entries"));
  expect({ status, code }).toEqual({ status: 503, code: "limit/exceeded" });
  expect(body).toBe("503 limit/exceeded: the number of entries is beyond max_entries = 10\n");
});

test.each([
  ["an error of another part", new AnyError("signing/unfit-key", "key.asc: locked")],
  ["an error that is not ours", new TypeError("x is not a function")],
  ["a thrown string", "key.asc: locked"],
])("%s shows neither its code nor its text", (_what, thrown) => {
  const { status, code, body } = errorResponseOf(thrown);
  expect({ status, code }).toEqual({ status: 500, code: "server/internal" });
  expect(body).not.toMatch(/unfit|locked|function/);
});
