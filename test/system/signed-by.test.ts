// A Release that names its keys and expires: real apt accepts it, and then trusts only these keys.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fetch from "node-fetch";
import { expect, onTestFinished, test } from "vitest";
import { AptRoot } from "../support/apt.ts";
import { aDeb } from "../support/debs.ts";
import { ServerUnderTest } from "../support/server.ts";

test("apt updates from a suite that names its keys, and again after a change", async () => {
  const work = mkdtempSync(join(tmpdir(), "tahoe-apt-signed-by-"));
  const place = join(work, "tree/dists/sid/main/binary-amd64");
  mkdirSync(place, { recursive: true });
  writeFileSync(join(place, "a.deb"), await aDeb({ package: "a", architecture: "amd64" }));
  writeFileSync(
    join(work, "conf"),
    'state = "state"\npoll_seconds = 1\n[[repository]]\nname = "it"\nfolder = "tree"\n' +
      "[repository.suite.sid]\nvalid_for_seconds = 86400\nsigned_by = true\n",
  );
  const server = await ServerUnderTest.start({ flags: ["--config", join(work, "conf")] });
  onTestFinished(async () => {
    await server.end();
    rmSync(work, { recursive: true });
  });
  await server.ready();
  const apt = new AptRoot({ source: await (await fetch(`${server.url}/it/it.sources`)).text() });
  onTestFinished(() => apt.close());
  const update = async () => {
    const { exitCode, output } = await apt.run("apt-get", "update");
    expect(output).not.toMatch(/^[WE]:/m);
    expect(exitCode).toBe(0);
  };
  await update();
  const lists = join(apt.directory, "state/lists");
  const release = readdirSync(lists).find((name) => name.endsWith("InRelease")) ?? "";
  expect(readFileSync(join(lists, release), "utf8")).toMatch(/^Signed-By: [0-9A-F]{40}$/m);

  writeFileSync(join(place, "b.deb"), await aDeb({ package: "b", architecture: "amd64" }));
  await expect
    .poll(async () => await (await fetch(`${server.url}/it/dists/sid/main/binary-amd64/Packages`)).text(), {
      timeout: 20_000,
    })
    .toContain("Package: b\n");
  await update();
  await apt.download("b");
});
