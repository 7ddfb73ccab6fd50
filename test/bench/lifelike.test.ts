// The packages that Contents are measured over: as those of Debian are, and the same each time.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { runTool } from "../support/debs.ts";
import { recipeOf } from "./corpus.ts";
import { lifelike } from "./lifelike-deb.ts";
import { fileCountOf, pathsOf } from "./lifelike-paths.ts";

test("half of a thousand packages have at most 11 files, a tenth more than 123, and all together 98 to 110 each", () => {
  const counts = Array.from({ length: 1000 }, (_none, number) => fileCountOf(number)).sort((a, b) => a - b);
  expect([counts[0], counts[499], counts[899]]).toEqual([1, 11, 123]);
  const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length;
  expect(mean).toBeGreaterThan(98);
  expect(mean).toBeLessThan(110);
});

test("a package has just its paths, long ones among them, as dpkg-deb lists them; made again it has the same bytes", async () => {
  const folder = mkdtempSync(join(tmpdir(), "lifelike-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const number = Array.from({ length: 1000 }, (_none, at) => at).find((at) => fileCountOf(at) > 400) ?? 0;
  const paths = pathsOf(number, recipeOf(number, "1.0-1").package ?? "");
  expect(paths.some((path) => path.length > 100)).toBe(true);
  const { name, bytes } = await lifelike.deb(number);
  writeFileSync(join(folder, name), bytes);
  const listed = runTool("dpkg-deb", ["-c", join(folder, name)], "", "dpkg").toString();
  const files = [...listed.matchAll(/^[-l].* \.\/(.*?)(?: -> .*)?$/gm)].map(([, path = ""]) => path);
  expect(files.toSorted()).toEqual(paths.toSorted());
  expect((await lifelike.deb(number)).bytes.equals(bytes)).toBe(true);
});
