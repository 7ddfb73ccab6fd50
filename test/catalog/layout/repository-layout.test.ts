// Whose directory a path belongs to.
import { expect, test } from "vitest";
import { parseTreePath } from "../../../src/base/names.ts";
import { plainLayout } from "../../../src/catalog/layout/repository-layout.ts";

const of = (directory: string, ...configured: readonly string[]) =>
  plainLayout.builderDirectoryOf(parseTreePath(directory), new Set(configured.map(parseTreePath)));

test("without configured builders, each directory directly below a place is a builder's", () => {
  expect(of("dists/sid/main/binary-amd64/alice")).toBe("dists/sid/main/binary-amd64/alice");
  expect(of("dists/sid/main/binary-amd64/alice/2024/05")).toBe("dists/sid/main/binary-amd64/alice");
  expect(of("dists/sid/main/source/alice/x")).toBe("dists/sid/main/source/alice");
  expect(of("dists/sid/main/debian-installer/binary-amd64/alice/x")).toBe(
    "dists/sid/main/debian-installer/binary-amd64/alice",
  );
});

test("files directly in a place belong to the place", () => {
  expect(of("dists/sid/main/binary-amd64")).toBe("dists/sid/main/binary-amd64");
});

test("above the places nobody is answerable", () => {
  for (const path of ["", "dists", "dists/sid", "dists/sid/main", "pool/main/h"]) expect(of(path)).toBeUndefined();
});

test("a configured builder's directory counts, at whatever depth, and of several the innermost", () => {
  expect(of("dists/sid/main/binary-amd64/alice", "dists/sid/main")).toBe("dists/sid/main");
  expect(of("dists/sid/main/binary-amd64/a/b/c", "dists/sid/main", "dists/sid/main/binary-amd64/a/b")).toBe(
    "dists/sid/main/binary-amd64/a/b",
  );
  expect(of("dists/sid/main/binary-amd64/ab", "dists/sid/main/binary-amd64/a")).toBe("dists/sid/main/binary-amd64/ab");
});

test("a token for the whole tree, dists or a suite is the operator's and makes no builder", () => {
  expect(of("dists/sid/main/binary-amd64/alice", "", "dists", "dists/sid")).toBe("dists/sid/main/binary-amd64/alice");
});
