// The keys of the state's databases that hold something for each suite under a name.
import type { Suite } from "../../base/names.ts";
import { parseSuiteOrFlat } from "../../base/names.ts";

/** @param name without a slash: a suite's own name may hold some */
export const suiteKey = (suite: Suite, name: string): string => `${suite}/${name}`;

export function parseSuiteKey(key: string): readonly [suite: Suite, name: string] {
  const slash = key.lastIndexOf("/");
  return [parseSuiteOrFlat(key.slice(0, slash)), key.slice(slash + 1)];
}
