// `--json`: standard output of a builder's command is always one object, which shows whether links were changed.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parseTreePath } from "../../src/base/names.ts";
import { formatBundle } from "../../src/client/bundle.ts";
import { WriteCap } from "../../src/storage/tahoe/caps.ts";
import { runCommand } from "../support/command-line.ts";
import { aDeb } from "../support/debs.ts";
import type { FakeGateway } from "../support/fake-gateway.ts";
import { fakeGateway } from "../support/fake-gateway.ts";

const work = mkdtempSync(join(tmpdir(), "json-output-"));
let emptyDirectory: FakeGateway;

beforeAll(async () => {
  const listing = JSON.stringify(["dirnode", { children: {} }]);
  emptyDirectory = await fakeGateway((_request, response) => void response.writeHead(200).end(listing));
  const cap = new WriteCap(`URI:DIR2:${"a".repeat(26)}:${"b".repeat(52)}`);
  const directories = [{ path: parseTreePath("dists/sid/main/binary-amd64/alice"), cap }];
  const write = (name: string, gateway: string): void => {
    const bundle = { name: "alice", gateways: [gateway], directories, ping: undefined };
    writeFileSync(join(work, name), formatBundle(bundle).reveal(), { mode: 0o600 });
  };
  write("empty.bundle", emptyDirectory.url);
  write("away.bundle", "http://127.0.0.1:1");
  writeFileSync(join(work, "broken.bundle"), "x=[", { mode: 0o600 });
  writeFileSync(join(work, "hello.deb"), await aDeb({ package: "hello", architecture: "amd64" }));
  writeFileSync(join(work, "broken.deb"), "no archive");
});

afterAll(async () => {
  await emptyDirectory.end();
  rmSync(work, { recursive: true });
});

test.each([
  ["remove --bundle empty.bundle hello", 0, { status: "nothing" }],
  ["remove --bundle empty.bundle --dry-run hello", 0, { status: "planned" }],
  ["prune --bundle empty.bundle --keep 1", 0, { status: "nothing" }],
  ["promote --bundle empty.bundle --from sid --to stable hello", 3, { status: "refused" }],
  ["put --bundle empty.bundle broken.deb", 3, { status: "refused" }],
  ["put --bundle empty.bundle nowhere.deb", 3, { status: "refused" }],
  ["put --bundle away.bundle hello.deb", 1, { linked: "none", code: "storage/unavailable" }],
  ["remove --bundle away.bundle hello", 1, { linked: "none", code: "storage/unavailable" }],
  ["prune --bundle away.bundle --keep 1", 1, { linked: "none", code: "storage/unavailable" }],
  ["promote --bundle away.bundle --from sid --to stable hello", 1, { linked: "none", code: "storage/unavailable" }],
  ["list --bundle away.bundle", 1, { code: "storage/unavailable" }],
  ["put --bundle broken.bundle hello.deb", 2, { linked: "none", code: "builder/bad-bundle" }],
  ["promote --bundle broken.bundle --from sid --to stable hello", 2, { linked: "none", code: "builder/bad-bundle" }],
  ["promote --bundle empty.bundle --from sid hello", 2, { linked: "none", code: "usage/wrong-arguments" }],
  ["prune --bundle empty.bundle", 2, { linked: "none", code: "configuration/invalid" }],
  ["prune --bundle empty.bundle --keep x", 2, { linked: "none", code: "configuration/invalid" }],
  ["remove --bundle empty.bundle =", 2, { linked: "none", code: "configuration/invalid" }],
  ["remove --bundle empty.bundle", 2, { linked: "none", code: "usage/wrong-arguments" }],
  ["list --bundle empty.bundle --suite sid2", 2, { code: "configuration/invalid" }],
  ["deep-check --bundle broken.bundle", 2, { code: "builder/bad-bundle" }],
  ["view --config nowhere.toml", 2, { code: "configuration/invalid" }],
  ["owner list --config nowhere.toml", 2, { code: "configuration/invalid" }],
] as const)("%s --json ends with %d and prints one object", async (command, exitCode, expected) => {
  const result = await runCommand([...command.split(" "), "--json"], { cwd: work });
  expect(result.exitCode).toBe(exitCode);
  expect(result.printed.match(/\n/g)).toHaveLength(1);
  const failed = exitCode === 1 || exitCode === 2;
  expect(JSON.parse(result.printed)).toMatchObject({ ...(failed && { status: "failed", exitCode }), ...expected });
});
