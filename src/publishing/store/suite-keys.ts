// Database keys that consist of a suite and a name.
import type { Suite } from "../../base/names.ts";
import { parseSuiteOrFlat } from "../../base/names.ts";

/** @param name a name without a slash; the suite's name may contain slashes */
export const suiteKey = (suite: Suite, name: string): string => `${suite}/${name}`;

/** Splits a key that `suiteKey` made. */
export function parseSuiteKey(key: string): readonly [suite: Suite, name: string] {
  const slash = key.lastIndexOf("/");
  return [parseSuiteOrFlat(key.slice(0, slash)), key.slice(slash + 1)];
}
