// Builders' directories while the configuration changes.
import { expect, test } from "vitest";
import { parseSuite, parseTreePath } from "../../../src/base/names.ts";
import { BuilderDirectories } from "../../../src/catalog/layout/builder-directories.ts";
import { Layout } from "../../../src/catalog/layout/repository-layout.ts";

const place = "dists/sid/main/binary-amd64";
const path = parseTreePath;

test("a new builder is known after a second, and until then the configuration is not read", () => {
  let nowMs = 0;
  let asked = 0;
  let configured = [path(`${place}/team/alice`)];
  const builders = new BuilderDirectories(
    () => {
      asked += 1;
      return configured;
    },
    undefined,
    () => nowMs,
  );
  const owner = () => builders.of(path(`${place}/team/bob/deep`));
  expect(owner()).toBe(`${place}/team`);
  configured = [path(`${place}/team/bob`)];
  for (let n = 0; n < 100; n++) expect(owner()).toBe(`${place}/team`);
  expect(asked).toBe(1);
  nowMs += 1000;
  expect(owner()).toBe(`${place}/team/bob`);
  expect(builders.isConfigured(path(`${place}/team/bob`))).toBe(true);
  expect(builders.isConfigured(path(`${place}/team/alice`))).toBe(false);
});

test("a token for a whole suite with a slash in its name does not make the suite a builder's directory", () => {
  const configured = () => [path("dists/bookworm/updates")];
  const alices = path("dists/bookworm/updates/main/binary-amd64/alice");
  const withSuite = new BuilderDirectories(configured, new Layout([parseSuite("bookworm/updates")]));
  expect(withSuite.of(alices)).toBe(alices);
  // Without such a suite it is a directory in bookworm.
  expect(new BuilderDirectories(configured).of(alices)).toBe("dists/bookworm/updates");
});
