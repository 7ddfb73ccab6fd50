// Surveys that overlap in time: the later one wins.
import { expect, test } from "vitest";
import type { TreePath } from "../../src/base/names.ts";
import { parseTreePath } from "../../src/base/names.ts";
import { SurveyOrder } from "../../src/catalog/survey-order.ts";

const path = parseTreePath;
const nothing: ReadonlySet<TreePath> = new Set();

test("the results of a later survey are not overwritten by an earlier one that took longer", () => {
  const looks = new SurveyOrder();
  const earlier = looks.begin(path("a"));
  const later = looks.begin(path("a/b"));
  looks.applied(later, path("a/b"), nothing);
  looks.end(later);
  const isOvertaken = looks.supersededBy(earlier);
  expect(["a/b", "a/b/c"].map((each) => isOvertaken(path(each)))).toEqual([true, true]);
  expect(["a", "a/bc", "a/c"].map((each) => isOvertaken(path(each)))).toEqual([false, false, false]);
});

test("an earlier survey that is applied first has no effect on a later one", () => {
  const looks = new SurveyOrder();
  const earlier = looks.begin(path("a"));
  const later = looks.begin(path("a"));
  looks.applied(earlier, path("a"), nothing);
  expect(looks.supersededBy(later)(path("a"))).toBe(false);
});

test("surveys without overlap are not remembered", () => {
  const looks = new SurveyOrder();
  const slow = looks.begin(path("mallory"));
  for (let n = 0; n < 1000; n++) {
    const look = looks.begin(path(`alice/${n}`));
    looks.applied(look, path(`alice/${n}`), nothing);
    looks.end(look);
  }
  expect(looks.supersededBy(slow)(path("alice/1"))).toBe(false);
  looks.end(slow);
});

test("a later survey has no effect below directories that it did not list", () => {
  const looks = new SurveyOrder();
  const earlier = looks.begin(path("a/b/c"));
  const later = looks.begin(path("a"));
  looks.applied(later, path("a"), new Set([path("a/b")]));
  const isOvertaken = looks.supersededBy(earlier);
  expect(["a/b/c/d", "a/b/c", "a/b"].map((each) => isOvertaken(path(each)))).toEqual([false, false, false]);
  expect(["a/c", "a/bc", "a"].map((each) => isOvertaken(path(each)))).toEqual([true, true, true]);
});
