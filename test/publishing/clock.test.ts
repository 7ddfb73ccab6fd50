// What becomes of Release's Date when the clock, or the state directory, is not what it was.
import { expect, test } from "vitest";
import { aDeb } from "../support/debs.ts";
import { ServedFolder } from "../support/served-folder.ts";

const amd64 = "dists/sid/main/binary-amd64";
const dateOf = (release: string): number => Date.parse(/^Date: (.+)$/m.exec(release)?.[1] ?? "") / 1000;

test("after the clock was set back a change is refused, not waited for, and goes through once the clock is right", async () => {
  const right = Date.UTC(2026, 10, 22, 12);
  let nowMs = right;
  const served = new ServedFolder({ now: () => nowMs });
  served.makeDirectory(amd64);
  await served.ping();
  const before = await served.text("dists/sid/InRelease");

  nowMs = Date.UTC(2026, 10, 22, 10);
  served.put(`${amd64}/a.deb`, await aDeb({ package: "a", architecture: "amd64" }));
  await expect(served.ping()).rejects.toMatchObject({ code: "publishing/clock-behind" });
  expect(await served.text("dists/sid/InRelease")).toBe(before);
  expect(served.repository.status().lastError).toContain("10:00:00");

  nowMs = right + 1000;
  await served.ping();
  expect(await served.text(`${amd64}/Packages`)).toContain("Package: a\n");
  expect(dateOf(await served.text("dists/sid/Release"))).toBe(dateOf(before) + 1);
});

test("where the state was lost, every Date comes after the one that the operator gives", async () => {
  const given = Date.UTC(2026, 10, 22, 12) / 1000;
  const options = { now: () => given * 1000 };
  const served = new ServedFolder(options);
  served.put(`${amd64}/a.deb`, await aDeb({ package: "a", architecture: "amd64" }));
  await served.ping();
  expect(dateOf(await served.text("dists/sid/Release"))).toBe(1_700_000_000);
  await served.restart({ ...options, datesAfterSeconds: given });
  await served.ping();
  expect(dateOf(await served.text("dists/sid/Release"))).toBe(given + 1);
  await served.ping();
  expect(dateOf(await served.text("dists/sid/Release"))).toBe(given + 1);
});
