// Unpublished changes are taken from all builders in turn, in order for each path, and none is lost.
import fc from "fast-check";
import { expect, test } from "vitest";
import type { TreePath } from "../../../src/base/names.ts";
import { parseTreePath } from "../../../src/base/names.ts";
import type { FileChange } from "../../../src/catalog/catalog.ts";
import { plainLayout } from "../../../src/catalog/layout/repository-layout.ts";
import { UnpublishedChanges } from "../../../src/publishing/live/unpublished-changes.ts";

const place = "dists/sid/main/binary-amd64";
const builderOf = (directory: TreePath) => plainLayout.builderDirectoryOf(directory);
const aChange = (builder: string, n: number): FileChange => ({
  path: parseTreePath(`${place}/${builder}/p${n}.deb`),
  before: undefined,
  after: undefined,
});
const limitedTo = (maxChanges: number) => new UnpublishedChanges(builderOf, { maxChanges, maxStanzaBytes: 2 ** 20 });
const pathsOf = (changes: readonly FileChange[]) => changes.map(({ path }) => path.slice(place.length + 1));

test("a builder with one change does not wait for thousands of changes of another builder", () => {
  const changes = limitedTo(10);
  changes.add(Array.from({ length: 5000 }, (_, n) => aChange("mallory", n)));
  changes.add([aChange("alice", 1), aChange("bob", 1)]);
  const isWaiting = ["alice", "mallory"].map((builder) => changes.waitingWithin(parseTreePath(`${place}/${builder}`)));
  expect(pathsOf(changes.next(false))).toEqual(expect.arrayContaining(["alice/p1.deb", "bob/p1.deb"]));
  changes.done();
  expect(isWaiting.map((is) => is())).toEqual([false, true]);
});

test("whoever waits for the changes of now does not wait for those that come later, again and again", () => {
  const changes = limitedTo(2);
  changes.add([1, 2, 3].map((n) => aChange("alice", n)));
  const isWaiting = changes.waitingWithin(parseTreePath(place));
  const seen = [4, 5].map((n) => {
    changes.next(false);
    changes.add([aChange("alice", n), aChange("bob", n)]);
    changes.done();
    return isWaiting();
  });
  expect(seen).toEqual([true, false]);
  expect(changes.isEmpty).toBe(false);
});

test("changes that could not be published are returned again, before other changes", () => {
  const changes = limitedTo(2);
  changes.add([1, 2, 3].map((n) => aChange("alice", n)));
  expect(pathsOf(changes.next(false))).toEqual(["alice/p1.deb", "alice/p2.deb"]);
  expect(pathsOf(changes.next(false))).toEqual(["alice/p1.deb", "alice/p2.deb"]);
  changes.done();
  expect(pathsOf(changes.next(false))).toEqual(["alice/p3.deb"]);
  expect(changes.isEmpty).toBe(false);
  changes.done();
  expect(changes.isEmpty).toBe(true);
});

test("the first publication contains all changes", () => {
  const changes = limitedTo(2);
  changes.add([1, 2, 3].map((n) => aChange("alice", n)));
  expect(changes.next(true)).toHaveLength(3);
});

test("in any sequence of operations, each change is returned once, and changes of one path are in order", () => {
  const step = fc.oneof(
    fc.array(fc.tuple(fc.constantFrom("a", "b", "c"), fc.nat(3)), { maxLength: 8 }),
    fc.constantFrom("next" as const, "fail" as const),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), fc.integer({ min: 1, max: 4 }), (steps, most) => {
      const changes = limitedTo(most);
      const [wanted, got]: [FileChange[], FileChange[]] = [[], []];
      const take = () => {
        const batch = changes.next(false);
        expect(batch.length).toBeLessThanOrEqual(most);
        got.push(...batch);
        changes.done();
      };
      for (const each of steps) {
        if (each === "next") take();
        else if (each === "fail") changes.next(false);
        else {
          const some = each.map(([builder, n]) => aChange(builder, n));
          wanted.push(...some);
          changes.add(some);
        }
      }
      while (!changes.isEmpty) take();
      expect(new Set(got)).toEqual(new Set(wanted));
      expect(got).toHaveLength(wanted.length);
      for (const path of new Set(pathsOf(wanted))) {
        const of = (all: readonly FileChange[]) => all.filter((change) => pathsOf([change])[0] === path);
        expect(of(got)).toEqual(of(wanted));
      }
    }),
  );
});
