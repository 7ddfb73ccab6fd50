// Messages about wrong values in files: they name the place and the expected value, in the words of TOML.
import { expect, test } from "vitest";
import { z } from "zod";
import { validationMessage } from "../../src/base/validation-messages.ts";

const schema = z.strictObject({
  name: z.string().min(1),
  count: z.number().int().positive().max(10),
  names: z.array(z.string()).min(1).max(2),
  mode: z.enum(["made", "prebuilt"]),
  only: z.literal("this"),
  table: z.strictObject({ on: z.boolean() }),
});
const good = { name: "x", count: 1, names: ["a"], mode: "made", only: "this", table: { on: true } };

const toldOf = (changes: object): readonly string[] =>
  schema
    .safeParse({ ...good, ...changes }, { error: validationMessage })
    .error?.issues.map(({ path, message }) => `${path.join(".")} ${message}`) ?? [];

test("a valid value gives no message", () => {
  expect(toldOf({})).toEqual([]);
});

test.each([
  [{ name: undefined }, "name is missing"],
  [{ name: 5 }, "name must be a text in quotes, and is a number"],
  [{ name: "" }, "name is empty"],
  [{ count: "5" }, "count must be a number, and is a text in quotes"],
  [{ count: 1.5 }, "count is not a whole number"],
  [{ count: 0 }, "count must be more than 0"],
  [{ count: 11 }, "count must be at most 10"],
  [{ names: [] }, "names is empty"],
  [{ names: ["a", "b", "c"] }, "names has more than 2 members"],
  [{ names: "a" }, "names must be a list in [brackets], and is a text in quotes"],
  [{ mode: "x" }, 'mode must be "made" or "prebuilt"'],
  [{ only: "x" }, 'only must be "this"'],
  [{ table: [] }, "table must be a table, and is a list in [brackets]"],
  [{ table: { on: "true" } }, "table.on must be true or false, and is a text in quotes"],
  [{ extra: 1 }, " has unknown keys: extra"],
])("%j: %s", (changes, message) => {
  expect(toldOf(changes)).toEqual([message]);
});

test("no message quotes the value, which may be a secret", () => {
  for (const key of Object.keys(good)) expect(toldOf({ [key]: "hunter2" }).join()).not.toContain("hunter2");
});
