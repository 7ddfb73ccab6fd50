// The builder's directory of a path.
import { expect, test } from "vitest";
import { parseTreePath } from "../../../src/base/names.ts";
import { plainLayout } from "../../../src/catalog/layout/repository-layout.ts";

const of = (directory: string, ...configured: readonly string[]) =>
  plainLayout.builderDirectoryOf(parseTreePath(directory), new Set(configured.map(parseTreePath)));

test("without configured builders, each child of a package directory is a builder's directory", () => {
  expect(of("dists/sid/main/binary-amd64/alice")).toBe("dists/sid/main/binary-amd64/alice");
  expect(of("dists/sid/main/binary-amd64/alice/2024/05")).toBe("dists/sid/main/binary-amd64/alice");
  expect(of("dists/sid/main/source/alice/x")).toBe("dists/sid/main/source/alice");
  expect(of("dists/sid/main/debian-installer/binary-amd64/alice/x")).toBe(
    "dists/sid/main/debian-installer/binary-amd64/alice",
  );
});

test("files directly in a package directory belong to that directory", () => {
  expect(of("dists/sid/main/binary-amd64")).toBe("dists/sid/main/binary-amd64");
});

test("directories above the package directories have no builder", () => {
  for (const path of ["", "dists", "dists/sid", "dists/sid/main", "pool/main/h"]) expect(of(path)).toBeUndefined();
});

test("a configured builder's directory is used at any depth, and of several the innermost", () => {
  expect(of("dists/sid/main/binary-amd64/alice", "dists/sid/main")).toBe("dists/sid/main");
  expect(of("dists/sid/main/binary-amd64/a/b/c", "dists/sid/main", "dists/sid/main/binary-amd64/a/b")).toBe(
    "dists/sid/main/binary-amd64/a/b",
  );
  expect(of("dists/sid/main/binary-amd64/ab", "dists/sid/main/binary-amd64/a")).toBe("dists/sid/main/binary-amd64/ab");
});

test("a token for the whole tree, dists or a suite belongs to the operator, not to a builder", () => {
  expect(of("dists/sid/main/binary-amd64/alice", "", "dists", "dists/sid")).toBe("dists/sid/main/binary-amd64/alice");
});
