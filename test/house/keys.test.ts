// Every key of the configuration, and every limit with its default, is named where operators look for it.
import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { z } from "zod";
import { configurationKey } from "../../src/base/errors.ts";
import { schemaFor } from "../../src/config/config-schema.ts";
import { defaultLimits } from "../../src/config/configuration.ts";
import { projectRoot, readProjectFile, sourceFiles } from "../support/project-files.ts";

/** The names of all properties in a JSON schema, but for the numbers below `limits`, which have their names in the code. */
function keysIn(schema: unknown, keys = new Set<string>()): ReadonlySet<string> {
  if (typeof schema !== "object" || schema === null) return keys;
  for (const [name, value] of Object.entries(schema)) {
    if (name === "properties")
      for (const [key, property] of Object.entries(value as object)) {
        keys.add(key);
        if (key !== "limits") keysIn(property, keys);
      }
    else keysIn(value, keys);
  }
  return keys;
}

test("the help of serve names every key of the configuration", () => {
  const schema = schemaFor({
    base: "/",
    credentialsDirectory: undefined,
    warn: () => {},
    readCap: undefined,
    pingToken: undefined,
  });
  const keys = keysIn(z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }));
  expect(keys.size).toBeGreaterThan(50);
  const help = execFileSync(process.execPath, ["dist/cli.js", "serve", "--help"], {
    cwd: projectRoot,
    encoding: "utf8",
  });
  const words = new Set(help.match(/[a-z_]+/g));
  expect([...keys].filter((key) => !words.has(key))).toEqual([]);
});

test("every limit that a message names is a key of the configuration", () => {
  const known = new Set(Object.values(defaultLimits).flatMap((stage) => Object.keys(stage)));
  const named = sourceFiles().flatMap((file) => [
    ...readProjectFile(file).matchAll(
      /(?:LimitExceeded|limitFlaw|limitMessage)\(\s*"(\w+)"|\b(?:limit|name): "(max\w+)"/g,
    ),
  ]);
  const names = named.map(([, direct, inObject]) => direct ?? inObject ?? "");
  expect(names.length).toBeGreaterThan(20);
  expect(names.filter((name) => !known.has(name))).toEqual([]);
});

test("docs/reference/configuration.md has every limit with its default, stage by stage", () => {
  const documented = new Map<string, Readonly<Record<string, number>>>();
  for (const section of readProjectFile("docs/reference/configuration.md").split(/^## /m).slice(1)) {
    const [, stage] = /^`\[limits\.(\w+)\]`/.exec(section) ?? [];
    if (stage === undefined) continue;
    const rows = section.matchAll(/^\| `(\w+)` \| [^|]+ \| `(\d+)`/gm);
    documented.set(stage, Object.fromEntries([...rows].map(([, key = "", value]) => [key, Number(value)])));
  }
  const actual = Object.entries(defaultLimits).map(([stage, limits]) => {
    const keys = Object.entries({ ...limits }).map(([name, value]): readonly [string, number] => {
      const key = configurationKey(name);
      return key.endsWith("_ms") ? [key.replace(/_ms$/, "_seconds"), value / 1000] : [key, value];
    });
    return [stage, Object.fromEntries(keys)] as const;
  });
  expect(Object.fromEntries(documented)).toEqual(Object.fromEntries(actual));
});
