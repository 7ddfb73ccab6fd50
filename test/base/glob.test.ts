// Patterns with `*` and `?`, which match as in the shell, in bounded time.
import fc from "fast-check";
import { expect, test } from "vitest";
import { globMatcher } from "../../src/base/glob.ts";

/** A simple reference implementation that takes exponential time. */
function means(pattern: string, text: string): boolean {
  const [first, ...rest] = pattern;
  if (first === undefined) return text === "";
  const remaining = rest.join("");
  if (first === "*") return means(remaining, text) || (text !== "" && means(pattern, text.slice(1)));
  return text !== "" && (first === "?" || first === text[0]) && means(remaining, text.slice(1));
}

test("stars match any characters, question marks match one, and nothing else matches", () => {
  const pattern = fc.string({ unit: fc.constantFrom("a", "b", "-", "*", "?"), maxLength: 8 });
  const text = fc.string({ unit: fc.constantFrom("a", "b", "-"), maxLength: 10 });
  fc.assert(fc.property(pattern, text, (one, other) => globMatcher(one)(other) === means(one, other)));
});

test("special characters of regular expressions are literal", () => {
  expect(globMatcher("libstdc++*")("libstdc++6")).toBe(true);
  expect(globMatcher("libstdc++*")("libstdccc6")).toBe(false);
  expect(globMatcher("a.c")("abc")).toBe(false);
  expect(globMatcher("[ab]")("a")).toBe(false);
});

test("a name that would make a backtracking matcher slow is matched at once", () => {
  const matches = globMatcher(`${"*-".repeat(50)}dbgsym`);
  const begun = performance.now();
  for (let n = 0; n < 100; n++) expect(matches(`a${"-a".repeat(500)}`)).toBe(false);
  // A backtracking matcher would not end within a lifetime.
  expect(performance.now() - begun).toBeLessThan(2000);
});
