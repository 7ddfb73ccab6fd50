// An attacker between a client and the server replays an old publication; apt accepts it for a limited time.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { AptRun } from "../support/apt.ts";
import { AptRoot } from "../support/apt.ts";
import { clockBehind } from "../support/client-clock.ts";
import { aDeb } from "../support/debs.ts";
import { ServerUnderTest } from "../support/server.ts";

const place = "dists/sid/main/binary-amd64";
const validSeconds = 2 * 24 * 3600;

test("apt accepts an old publication as long as its Valid-Until allows, and no longer", async () => {
  const work = mkdtempSync(join(tmpdir(), "tahoe-apt-old-"));
  mkdirSync(join(work, "tree", place), { recursive: true });
  writeFileSync(join(work, "tree", place, "it.deb"), await aDeb({ package: "it", architecture: "amd64" }));
  const server = await ServerUnderTest.withRepository(work, [
    'folder = "tree"',
    `[repository.suite.sid]\nvalid_for_seconds = ${validSeconds}`,
  ]);
  onTestFinished(async () => {
    await server.end();
    rmSync(work, { recursive: true, force: true });
  });
  const url = `${server.url}/debian`;
  const publicKey = await (await fetch(`${url}/key.asc`)).text();
  // The view of a client whose traffic an attacker replaces by a copy of today's files.
  const updateIn = async (seconds: number): Promise<AptRun> => {
    const machine = new AptRoot({ source: { url, suite: "sid", publicKey }, environment: clockBehind(-seconds) });
    onTestFinished(() => machine.close());
    return await machine.run("apt-get", "update", "--error-on=any");
  };
  expect(await updateIn(validSeconds - 3600)).toMatchObject({ exitCode: 0 });
  const late = await updateIn(validSeconds + 3600);
  expect(late.exitCode).toBe(100);
  expect(late.output).toMatch(/expired/);
});
