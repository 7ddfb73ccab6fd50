// Messages about wrong values in files that people write, in the words of TOML and not of the validation library.
import type { z } from "zod";

const named: { readonly [Type: string]: string } = {
  string: "a text in quotes",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list in [brackets]",
  object: "a table",
  record: "a table",
};

const typeOf = (value: unknown): string => {
  if (Array.isArray(value)) return "array";
  return value !== null && typeof value === "object" ? "object" : typeof value;
};

/**
 * Messages for `schema.safeParse(raw, { error: validationMessage })`. None quotes the value, which may be a secret.
 * @returns undefined for an issue that has its own message
 */
export function validationMessage(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case "invalid_type": {
      if (issue.input === undefined) return "is missing";
      const wanted = named[issue.expected] ?? issue.expected;
      const found = typeOf(issue.input) === "number" && issue.expected === "int" ? "number" : typeOf(issue.input);
      const isFraction = issue.expected === "int" && found === "number";
      return isFraction ? "is not a whole number" : `must be ${wanted}, and is ${named[found] ?? found}`;
    }
    case "invalid_value":
      return `must be ${oneOf(issue.values.map((value) => JSON.stringify(value) ?? String(value)))}`;
    case "too_small":
      return issue.origin === "number" || issue.origin === "int"
        ? `must be ${issue.inclusive === false ? "more than" : "at least"} ${issue.minimum}`
        : "is empty";
    case "too_big":
      return issue.origin === "number" || issue.origin === "int"
        ? `must be at most ${issue.maximum}`
        : `has more than ${issue.maximum} ${issue.origin === "array" ? "members" : "characters"}`;
    case "unrecognized_keys":
      return `has unknown keys: ${issue.keys.join(", ")}`;
    case "custom":
    case "invalid_element":
    case "invalid_format":
    case "invalid_key":
    case "invalid_union":
    case "not_multiple_of":
      return undefined;
    default:
      return issue satisfies never;
  }
}

const oneOf = (values: readonly string[]): string =>
  values.length < 2 ? values.join("") : `${values.slice(0, -1).join(", ")} or ${values.at(-1)}`;
