// A backup that somebody has crafted or changed, and a state directory that the server's user has prepared, lead a
// restore to no other place.
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import type { BackupHeader, BackupMember, BackupOrigin } from "../../src/server/backup-archive.ts";
import { writeArchive } from "../../src/server/backup-archive.ts";
import { restoreBackup } from "../../src/server/restore.ts";
import { stateFormat, unfinishedMarkIn } from "../../src/server/state-version.ts";

let work: string;
let state: string;
let config: string;
let backup: string;

beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), "hostile-backup-"));
  onTestFinished(() => rmSync(work, { recursive: true, force: true }));
  [state = "", config = "", backup = ""] = ["place/state", "place/it.toml", "it.backup"].map((path) =>
    join(work, path),
  );
  mkdirSync(join(work, "place"));
});

const member = (kind: BackupOrigin["kind"], path: string, content: string, mode = 0o600): BackupMember => ({
  name: `${kind}/file`,
  origin: { kind, path, mode },
  content: Buffer.from(content),
});

const configuration = (text = 'state = "state"\nmetrics_token_file = "token"\n') =>
  member("configuration", config, text);

async function restored(
  members: readonly BackupMember[],
  { force = false, ...about }: Partial<BackupHeader> & { readonly force?: boolean } = {},
) {
  const header = {
    program: "1.0.0",
    createdMs: Date.now(),
    stateFormat,
    state: { directory: state, isConfigured: true },
    repositories: [],
    ...about,
  };
  async function* all() {
    yield* members;
  }
  const chunks: Uint8Array[] = [];
  for await (const chunk of writeArchive(header, all())) chunks.push(chunk);
  writeFileSync(backup, Buffer.concat(chunks));
  return await restoreBackup({ file: backup, configurationFile: undefined, stateDirectory: undefined, force });
}

test("a backup may contain what its configuration names", async () => {
  const { files } = await restored([configuration(), member("relative", "token", "secret")]);
  expect(files).toEqual([config, join(work, "place/token")]);
});

test.each([
  ["with an absolute path", "absolute", (at: string) => at],
  ["with a path beside the configuration", "relative", () => "../other"],
] as const)(
  "a file %s that the configuration does not name is refused, and nothing is written",
  async (_, kind, path) => {
    const other = join(work, "other");
    for (const force of [false, true]) {
      await expect(
        restored([configuration(), member(kind, path(other), "* * * * * root id")], { force }),
      ).rejects.toThrow("which its configuration does not name");
    }
    expect(readdirSync(join(work, "place"))).toEqual([]);
    expect(existsSync(other)).toBe(false);
  },
);

test("a file of a backup without a configuration is refused", async () => {
  await expect(restored([member("absolute", join(work, "other"), "")])).rejects.toThrow("does not name");
  expect(existsSync(join(work, "other"))).toBe(false);
});

test.each(["../evil", "/etc/evil", "repositories/../../evil", "."])("%s is no file of the state", async (path) => {
  await expect(restored([configuration(), member("state", path, "")])).rejects.toThrow(/not in the state directory/);
  expect(existsSync(join(work, "place/evil"))).toBe(false);
});

test("files of a user without a name are restored as files of the one who restores", async () => {
  await restored([configuration(), member("relative", "token", "secret")]);
  expect(statSync(join(work, "place/token")).uid).toBe(process.getuid?.());
});

test("no file becomes a program that runs as its owner", async () => {
  await restored([configuration(), member("relative", "token", "secret", 0o6755)]);
  expect(statSync(join(work, "place/token")).mode & 0o7777).toBe(0o755);
});

test.each([
  [
    "a configuration that is not TOML, whose text is not quoted",
    { members: 'secret = "of mine' },
    /line 1 is not valid TOML: [^\n]*$/,
  ],
  ["a time that is none", { about: { createdMs: 2 ** 53 - 1 } }, /a description in it cannot be read/],
  ["a state directory that is no path", { about: { state: { directory: "state", isConfigured: false } } }, /no path/],
])(
  "%s is refused as damage",
  async (_, { members, about }: { members?: string; about?: Partial<BackupHeader> }, message) => {
    const failure = await restored([configuration(members)], about).catch(String);
    expect(failure).toMatch(message);
    expect(failure).not.toContain("of mine");
    expect(readdirSync(join(work, "place"))).toEqual([]);
  },
);

test("even when forced, only the state of a server is set aside, not whatever a wrong path contains", async () => {
  mkdirSync(state);
  writeFileSync(join(state, "thesis.txt"), "mine");
  await expect(restored([configuration('state = "state"')], { force: true })).rejects.toThrow("it contains thesis.txt");
  expect(readdirSync(state)).toEqual(["thesis.txt"]);
});

test("links that the server's user has left for a repeated restore lead nowhere", async () => {
  const outside = join(work, "outside");
  mkdirSync(outside);
  mkdirSync(state);
  writeFileSync(unfinishedMarkIn(state), "");
  symlinkSync(outside, join(state, "repositories"));
  await restored([configuration('state = "state"'), member("state", "repositories/ping-token", "token")]);
  expect(readdirSync(outside)).toEqual([]);
  expect(readFileSync(join(state, "repositories/ping-token"), "utf8")).toBe("token");
});
