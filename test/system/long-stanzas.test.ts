// With any configured limit, every stanza is short enough for apt to read its index.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fetch from "node-fetch";
import { expect, onTestFinished, test } from "vitest";
import { AptRoot } from "../support/apt.ts";
import { aDeb } from "../support/debs.ts";
import { ServerUnderTest } from "../support/server.ts";

const aptLimitBytes = 2 ** 20;

test("apt reads an index with the longest stanzas that any setting allows, and longer ones are rejected", async () => {
  const work = mkdtempSync(join(tmpdir(), "long-stanzas-"));
  onTestFinished(() => rmSync(work, { recursive: true, force: true }));
  const directory = join(work, "tree/dists/sid/main/binary-amd64");
  mkdirSync(directory, { recursive: true });
  const put = async (name: string, bytes: number) =>
    writeFileSync(
      join(directory, `${name}_1.0-1_amd64.deb`),
      await aDeb({ package: name, architecture: "amd64", fields: bytes === 0 ? {} : { "X-Long": "x".repeat(bytes) } }),
    );
  await put("before", 0);
  for (const less of [5200, 6000]) await put(`long${less}`, aptLimitBytes - less);
  await put("toolong", aptLimitBytes - 4000);
  await put("much-toolong", 2 * aptLimitBytes);
  await put("behind", 0);
  writeFileSync(join(work, "token"), "a-token-that-only-this-test-knows", { mode: 0o600 });
  writeFileSync(
    join(work, "serve.toml"),
    `state = "state"\n[limits.inspection]\nmax_stanza_bytes = 1000000000\n[[repository]]\nname = "debian"\n` +
      `folder = "tree"\nping_token_file = "token"\n`,
  );
  const server = await ServerUnderTest.start({ flags: ["--config", join(work, "serve.toml")] });
  onTestFinished(async () => void (await server.end()));
  await server.ready();
  const url = `${server.url}/debian`;
  const packages = await (await fetch(`${url}/dists/sid/main/binary-amd64/Packages`)).text();
  expect([...packages.matchAll(/^Package: (.*)$/gm)].map((match) => String(match[1])).toSorted()).toEqual([
    "before",
    "behind",
    "long5200",
    "long6000",
  ]);
  const page = await (await fetch(`${url}/-/rejects`)).text();
  expect(page.match(/max_stanza_bytes = 1044480/g)).toHaveLength(2);
  const publicKey = await (await fetch(`${url}/key.asc`)).text();
  const apt = new AptRoot({ source: { url, suite: "sid", components: ["main"], publicKey } });
  onTestFinished(() => apt.close());
  const update = await apt.run("apt-get", "update");
  expect([update.exitCode, update.output.match(/^[EW]:.*/gm)]).toEqual([0, null]);
  const names = await apt.run("apt-cache", "pkgnames");
  expect(names.output.trim().split("\n").toSorted()).toEqual(["before", "behind", "long5200", "long6000"]);
  expect((await apt.run("apt-get", "-s", "install", "behind", "long5200")).output).toContain("Inst long5200");
});
