// put into a suite that is rolled back reports the rollback, and not that apt sees the upload.
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { CommandLine } from "../support/command-line.ts";
import { InitializedTree, namedDeb } from "../support/initialized-tree.ts";

let tree: InitializedTree;
beforeAll(async () => {
  tree = await InitializedTree.plant(inject("webapiUrl"));
});
afterAll(() => tree?.close());

async function runSnapshot(...args: readonly string[]): Promise<string> {
  const command = new CommandLine(["snapshot", ...args, "--state", join(tree.work, "state")]);
  expect(await command.ends(), command.output).toBe(0);
  return command.output;
}

const put = async (version: string) =>
  await tree.putJson(tree.write(new Map([await namedDeb({ package: "hello", version })])));

test("put reports that the suite is rolled back, and after resuming the same put reports that it is live", async () => {
  expect(await put("1")).toMatchObject({ exitCode: 0, status: "live" });
  const [, good = ""] = /^sid (\S+) .*\(current\)$/m.exec(await runSnapshot("list")) ?? [];
  await runSnapshot("rollback", good);
  expect(await put("2")).toMatchObject({
    exitCode: 4,
    status: "linked",
    packages: [{ state: "linked", reason: `sid is rolled back to ${good} for now` }],
  });
  await runSnapshot("resume");
  expect(await put("2")).toMatchObject({ exitCode: 0, status: "live" });
});
