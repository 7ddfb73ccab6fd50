// A schema for text that one of our own parsers reads.
import { z } from "zod";
import { fileReasonOf } from "./errors.ts";

/** A string that `parse` accepts. The message of what it throws is the issue, so it must not quote a secret. */
export const parsedBy = <Value>(parse: (raw: string) => Value) =>
  z.string().transform((raw, context): Value => {
    try {
      return parse(raw);
    } catch (thrown) {
      context.issues.push({ code: "custom", input: raw, message: fileReasonOf(thrown) });
      return z.NEVER;
    }
  });
