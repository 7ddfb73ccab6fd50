// Links that Tahoe allows and no index can contain, in a real grid: they are reported, and affect no package.
import fetch from "node-fetch";
import { expect, inject, onTestFinished, test } from "vitest";
import { aDeb } from "../support/debs.ts";
import { ServedGrid } from "../support/served-grid.ts";

const place = "dists/sid/main/binary-amd64";

test("names that no path can have, and a directory with a cap that the gateway does not support, are rejected", async () => {
  const grid = await ServedGrid.start(inject("webapiUrl"));
  onTestFinished(() => grid.end());
  const odd = ["two\nlines.deb", "nul\u0000.deb", "a/b.deb"];
  const names = ["good.deb", ...odd].map(async (name, n) => [name, await aDeb({ package: `p${n}` })] as const);
  await grid.put(place, new Map(await Promise.all(names)));
  await grid.put(`${place}/alice`, new Map([["it.deb", await aDeb({ package: "from-alice" })]]));
  const bad = { path: place, code: "bad-name" };
  const { rejected: first } = await grid.ping();
  expect(first).toMatchObject([bad]);
  for (const name of odd) expect(first[0]?.reason).toContain(JSON.stringify(name));

  await grid.link(`${place}/alice`, "ro.lafs://of-a-newer-Tahoe");
  const { rejected, removed } = await grid.ping();
  expect(removed).toEqual([]);
  expect(rejected).toContainEqual({
    path: `${place}/alice`,
    code: "unreadable",
    reason: expect.stringContaining("the gateway does not know the type of its cap"),
  });
  expect(await (await fetch(`${grid.url}/${place}/Packages`)).text()).toContain("Package: from-alice\n");
  const page = await (await fetch(`${grid.url}/-/rejects`)).text();
  expect(page).toContain("the gateway does not know the type of its cap");
  expect(page).toContain("two\\nlines.deb");
});
