// `tahoe-apt init` and `builder revoke` that are killed at any moment: the same command finishes them when run again.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, onTestFinished, test } from "vitest";
import { parseRepositoryName, parseTreePath } from "../../src/base/names.ts";
import { formatBundle, parseBundle } from "../../src/client/bundle.ts";
import { OwnedTree } from "../../src/client/tree-owner.ts";
import { WriteGateways } from "../../src/client/write-gateways.ts";
import { OwnerFiles } from "../../src/commands/shared/owner-files.ts";
import { loadConfiguration } from "../../src/config/load-config.ts";
import type { WriteCap } from "../../src/storage/tahoe/caps.ts";
import { Webapi } from "../../src/storage/tahoe/webapi.ts";
import { WebapiWriter } from "../../src/storage/tahoe/webapi-writer.ts";
import { CommandLine } from "../support/command-line.ts";
import { namedDeb } from "../support/initialized-tree.ts";
import type { InterruptingGateway } from "../support/interrupting-gateway.ts";
import { interruptingGateway } from "../support/interrupting-gateway.ts";

const { signal } = new AbortController();
const writer = new WebapiWriter(new Webapi(inject("webapiUrl")));
const path = parseTreePath("dists/sid/main/binary-amd64/alice");
/** A test that runs the command about forty times. */
const manyRunsMs = 900_000;
let gateway: InterruptingGateway;

beforeAll(async () => {
  gateway = await interruptingGateway(inject("webapiUrl"));
});
afterAll(() => gateway?.end());

function aDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "tahoe-apt-owner-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

const initIn = (directory: string) => ["init", directory, "--webapi", gateway.url, "--builder", "alice"];

/** Runs a command that is killed after a request and before its response. @returns whether it came that far */
async function killed(args: readonly string[], number: number): Promise<boolean> {
  const command = new CommandLine(args);
  gateway.at(number, "after", () => {
    command.child.kill("SIGKILL");
    return 500;
  });
  await command.ends();
  return command.child.signalCode === "SIGKILL";
}

async function succeed(args: readonly string[]): Promise<void> {
  gateway.at(-1, "before", () => undefined);
  const command = new CommandLine(args);
  expect(await command.ends(), command.output).toBe(0);
}

/** A tree with one builder in one directory, and no server to ping, made without a separate process. */
async function createTreeIn(directory: string): Promise<{ readonly root: WriteCap; readonly own: WriteCap }> {
  const files = new OwnerFiles(directory, () => {});
  const settings = {
    name: parseRepositoryName("debian"),
    gateways: [gateway.url],
    listen: "127.0.0.1:1",
    publicUrl: undefined,
  };
  const master = await files.openMaster(settings, () => writer.createDirectory(signal));
  const withoutPing = { ...master, ping: undefined };
  writeFileSync(join(directory, "master.bundle"), formatBundle(withoutPing).reveal(), { mode: 0o600 });
  const [own] = await new OwnedTree(new WriteGateways(master.gateways), master.root, signal).createDirectories([path]);
  await files.writeBuilder("alice", withoutPing, [own!]);
  return { root: master.root, own: own!.cap };
}

const bundleIn = (directory: string, name: string) => parseBundle(readFileSync(join(directory, name), "utf8"));

test(
  "an init that is killed at any request is finished by the next one, and none of its secrets is generated twice",
  async () => {
    for (let number = 0; ; number++) {
      const directory = aDirectory();
      const wasKilled = await killed(initIn(directory), number);
      const master = () =>
        readdirSync(directory).includes("master.bundle") && readFileSync(join(directory, "master.bundle"), "utf8");
      const before = master();
      await succeed(initIn(directory));
      if (before !== false) expect(master()).toBe(before);
      const { repositories, warnings: found } = loadConfiguration({ config: join(directory, "tahoe-apt.toml") }, {});
      const warnings = [...found];
      const builders = repositories[0]?.builders((warning) => warnings.push(warning));
      expect([repositories.length, builders?.length, warnings]).toEqual([1, 4, []]);
      const [root] = bundleIn(directory, "master.bundle").directories;
      for (const own of bundleIn(directory, "builders/alice.bundle").directories) {
        expect((await writer.directoryAt(root!.cap, own.path, signal))?.reveal()).toBe(own.cap.reveal());
      }
      if (!wasKilled) {
        expect(number).toBeGreaterThan(6);
        return;
      }
    }
  },
  manyRunsMs,
);

test(
  "a revocation that is killed at any request is finished by the next one, and no package is lost",
  async () => {
    const [name, bytes] = await namedDeb({ package: "kept" });
    for (let number = 0; ; number++) {
      const directory = aDirectory();
      const { root, own } = await createTreeIn(directory);
      await writer.link(own, new Map([[name, { content: await writer.upload(bytes, signal), metadata: {} }]]), signal);

      const revoke = ["builder", "revoke", "alice", "--dir", directory];
      const wasKilled = await killed(revoke, number);
      const present = async () => {
        const cap = await writer.directoryAt(root, path, signal);
        return { cap: cap?.reveal(), names: cap === undefined ? [] : [...(await writer.list(cap, signal)).keys()] };
      };
      expect((await present()).names).toEqual([name]);
      if (!wasKilled) {
        expect(number).toBeGreaterThan(4);
        return;
      }
      expect(readFileSync(join(directory, "builders.toml"), "utf8")).not.toContain("alice");
      await succeed(revoke);
      expect((await present()).names).toEqual([name]);
      expect((await present()).cap).not.toBe(own.reveal());
      expect(readdirSync(join(directory, "builders"))).toEqual([]);
    }
  },
  manyRunsMs,
);
