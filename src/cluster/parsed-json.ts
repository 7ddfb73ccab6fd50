// Parses what other replicas have written.
import type { z } from "zod";

/** @returns undefined for text of another form, which a newer version of the program may have written */
export function parsedJson<Value>(schema: z.ZodType<Value>, text: string): Value | undefined {
  try {
    return schema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
