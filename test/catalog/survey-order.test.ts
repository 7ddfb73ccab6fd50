// Surveys that overlap in time: the later one wins.
import { expect, test } from "vitest";
import type { TreePath } from "../../src/base/names.ts";
import { parseTreePath } from "../../src/base/names.ts";
import { SurveyOrder } from "../../src/catalog/survey-order.ts";

const path = parseTreePath;
const nothing: ReadonlySet<TreePath> = new Set();

test("the results of a later survey are not overwritten by an earlier one that took longer", () => {
  const surveys = new SurveyOrder();
  const earlier = surveys.begin(path("a"));
  const later = surveys.begin(path("a/b"));
  surveys.applied(later, path("a/b"), nothing);
  surveys.end(later);
  const isSuperseded = surveys.supersededBy(earlier);
  expect(["a/b", "a/b/c"].map((each) => isSuperseded(path(each)))).toEqual([true, true]);
  expect(["a", "a/bc", "a/c"].map((each) => isSuperseded(path(each)))).toEqual([false, false, false]);
});

test("an earlier survey that is applied first has no effect on a later one", () => {
  const surveys = new SurveyOrder();
  const earlier = surveys.begin(path("a"));
  const later = surveys.begin(path("a"));
  surveys.applied(earlier, path("a"), nothing);
  expect(surveys.supersededBy(later)(path("a"))).toBe(false);
});

test("surveys without overlap are not remembered", () => {
  const surveys = new SurveyOrder();
  const slow = surveys.begin(path("mallory"));
  for (let n = 0; n < 1000; n++) {
    const look = surveys.begin(path(`alice/${n}`));
    surveys.applied(look, path(`alice/${n}`), nothing);
    surveys.end(look);
  }
  expect(surveys.supersededBy(slow)(path("alice/1"))).toBe(false);
  surveys.end(slow);
});

test("a later survey has no effect below directories that it did not list", () => {
  const surveys = new SurveyOrder();
  const earlier = surveys.begin(path("a/b/c"));
  const later = surveys.begin(path("a"));
  surveys.applied(later, path("a"), new Set([path("a/b")]));
  const isSuperseded = surveys.supersededBy(earlier);
  expect(["a/b/c/d", "a/b/c", "a/b"].map((each) => isSuperseded(path(each)))).toEqual([false, false, false]);
  expect(["a/c", "a/bc", "a"].map((each) => isSuperseded(path(each)))).toEqual([true, true, true]);
});
