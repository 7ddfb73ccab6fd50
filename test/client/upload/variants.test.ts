// Uploads of packages for architecture variants: the assigned directories, and the problems.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { parseTreePath } from "../../../src/base/names.ts";
import { defaultInspectLimits as limits } from "../../../src/catalog/inspection/inspect-limits.ts";
import type { Bundle } from "../../../src/client/bundle.ts";
import { assignDirectories, findProblems } from "../../../src/client/upload/assign-directories.ts";
import { collectLocalFiles } from "../../../src/client/upload/local-files.ts";
import { parseWriteCap } from "../../../src/storage/tahoe/caps.ts";
import { aDeb } from "../../support/debs.ts";

const cap = parseWriteCap("URI:DIR2:aaaaaaaaaaaaaaaaaaaaaaaaaa:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
const bundleOf = (...directories: readonly string[]): Bundle => ({
  name: "alice",
  gateways: ["http://127.0.0.1:1"],
  directories: directories.map((path) => ({ path: parseTreePath(path), cap })),
  ping: undefined,
});

async function assigned(bundle: Bundle, variant: string | undefined, name = "hello.deb") {
  const folder = mkdtempSync(join(tmpdir(), "tahoe-apt-variants-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const fields = { "Architecture-Variant": variant };
  writeFileSync(join(folder, name), await aDeb({ package: "hello", architecture: "amd64", fields }));
  const collected = await collectLocalFiles([join(folder, name)], limits, new AbortController().signal);
  expect(collected.problems).toEqual([]);
  const { destinations, problems } = assignDirectories(bundle, collected, {}, new Map());
  const uploads = [...destinations].map(([{ location, ...directory }, files]) => ({
    directory,
    location,
    files,
    entries: new Map(),
  }));
  return {
    paths: uploads.map(({ directory }) => directory.path),
    problems: [...problems, ...uploads.flatMap((upload) => findProblems(upload, false, limits))].map(
      ({ reason }) => reason,
    ),
  };
}

const amd64 = "dists/sid/main/binary-amd64";
const amd64v3 = "dists/sid/main/binary-amd64v3";

test("a variant's package goes to the variant's directory, else to its architecture's; others never do", async () => {
  expect(await assigned(bundleOf(amd64, amd64v3), "amd64v3")).toEqual({ paths: [amd64v3], problems: [] });
  expect(await assigned(bundleOf(amd64), "amd64v3")).toEqual({ paths: [amd64], problems: [] });
  expect(await assigned(bundleOf(amd64, amd64v3), undefined)).toEqual({ paths: [amd64], problems: [] });
  const { paths, problems } = await assigned(bundleOf(amd64v3), undefined);
  expect(paths).toEqual([]);
  expect(problems).toEqual([`a package for amd64 does not fit into ${amd64v3}`]);
});

test("Ubuntu's debug symbols (.ddeb) are uploaded like packages", async () => {
  expect(await assigned(bundleOf(amd64), undefined, "hello-dbgsym.ddeb")).toEqual({ paths: [amd64], problems: [] });
});
