// The output of every command for a builder whose bundle was revoked, before any other output or change.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parseTreePath } from "../../src/base/names.ts";
import { Secret } from "../../src/base/secret.ts";
import type { Bundle } from "../../src/client/bundle.ts";
import { formatBundle } from "../../src/client/bundle.ts";
import { WriteCap } from "../../src/storage/tahoe/caps.ts";
import { runCommand } from "../support/command-line.ts";
import { aDeb } from "../support/debs.ts";
import type { FakeGateway } from "../support/fake-gateway.ts";
import { fakeGateway } from "../support/fake-gateway.ts";

const work = mkdtempSync(join(tmpdir(), "old-bundle-"));
const at = (name: string): string => join(work, name);
let gateway: FakeGateway;
let rejectingServer: FakeGateway;
let acceptingServer: FakeGateway;

beforeAll(async () => {
  gateway = await fakeGateway((_request, response) => void response.writeHead(404).end());
  rejectingServer = await fakeGateway((_request, response) => void response.writeHead(401).end("unknown token"));
  const description = { repository: "debian", directories: [""], suites: [{ suite: "sid" }] };
  acceptingServer = await fakeGateway(
    (_request, response) => void response.writeHead(200).end(JSON.stringify(description)),
  );
  const write = (name: string, { url }: FakeGateway): void => {
    const bundle: Bundle = {
      name: "alice",
      gateways: [gateway.url],
      directories: [
        {
          path: parseTreePath("dists/sid/main/binary-amd64/alice"),
          cap: new WriteCap(`URI:DIR2:${"a".repeat(26)}:${"b".repeat(52)}`),
        },
      ],
      ping: { url: `${url}/-/ping/debian`, token: new Secret("the-token") },
    };
    writeFileSync(at(name), formatBundle(bundle).reveal(), { mode: 0o600 });
  };
  write("old.bundle", rejectingServer);
  write("known.bundle", acceptingServer);
  writeFileSync(at("hello_1.0-1_amd64.deb"), await aDeb({ package: "hello", architecture: "amd64" }));
  writeFileSync(at("tree.readcap"), `URI:DIR2-RO:${"a".repeat(26)}:${"b".repeat(52)}\n`, { mode: 0o600 });
});

afterAll(async () => {
  await Promise.all([gateway.end(), rejectingServer.end(), acceptingServer.end()]);
  rmSync(work, { recursive: true });
});

/** The arguments of each command that uses a bundle. */
const changing = [
  "put hello_1.0-1_amd64.deb",
  "promote --from sid --to stable hello",
  "promote --from sid --to stable hello --dry-run",
  "remove hello",
  "remove hello --dry-run",
  "prune --keep 1",
  "prune --keep 1 --dry-run",
];
const reading = ["list", "deep-check"];
const publishing = "publish --webapi http://127.0.0.1:1 --readcap-file tree.readcap --state state";

async function run(command: string, bundle: string, ...flags: readonly string[]) {
  const [name = "", ...args] = command.split(" ");
  const before = gateway.requests.length;
  const result = await runCommand([name, "--bundle", at(bundle), ...args, ...flags], { cwd: work });
  return { ...result, requests: gateway.requests.slice(before) };
}

test.each([...changing, ...reading, publishing])(
  "%s: a revoked builder gets this reason, exit code 1, and no request is sent to the grid",
  async (command) => {
    const { exitCode, printed, output, requests } = await run(command, "old.bundle");
    expect(output).toContain(
      `${rejectingServer.url}/-/ping/debian does not know this bundle's token: the builder was revoked`,
    );
    expect([exitCode, printed, requests]).toEqual([1, "", []]);
  },
);

test.each(changing)("%s tells a revoked builder that nothing was changed", async (command) => {
  expect((await run(command, "old.bundle")).output).toContain("(nothing was changed)");
});

test.each([...changing, ...reading])("%s --json reports it in one object", async (command) => {
  const { exitCode, printed } = await run(command, "old.bundle", "--json");
  expect(exitCode).toBe(1);
  expect(JSON.parse(printed)).toEqual({
    status: "failed",
    exitCode: 1,
    ...(changing.includes(command) && { linked: "none" }),
    code: "builder/ping-refused",
    errors: [expect.stringContaining("the builder was revoked")],
  });
});

test.each([...changing, ...reading])("%s: with a valid bundle, requests are sent to the grid", async (command) => {
  const { output, requests } = await run(command, "known.bundle");
  expect(output).not.toContain("revoked");
  expect(requests).not.toEqual([]);
});
