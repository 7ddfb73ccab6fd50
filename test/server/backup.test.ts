// Backup files that are truncated, changed, of another version, or would replace something, are refused; interrupted
// restores are repeated.
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { silentLog } from "../../src/base/log.ts";
import { parseRepositoryName, parseSuite } from "../../src/base/names.ts";
import { filesNamedIn } from "../../src/config/named-files.ts";
import { FirstOwnerStore } from "../../src/publishing/store/first-owner-store.ts";
import { PublicationStore } from "../../src/publishing/store/publication-store.ts";
import { openStateDatabase } from "../../src/publishing/store/state-database.ts";
import { makeBackup } from "../../src/server/backup.ts";
import { writeArchive } from "../../src/server/backup-archive.ts";
import { restoreBackup } from "../../src/server/restore.ts";
import { checkState, markState, stateFormat } from "../../src/server/state-version.ts";
import { readProjectFile } from "../support/project-files.ts";

const name = parseRepositoryName("debian");
const sid = parseSuite("sid");

let work: string;
let state: string;
let config: string;
let backup: string;

const again = { configurationFile: undefined, stateDirectory: undefined, force: false };

beforeEach(async () => {
  work = mkdtempSync(join(tmpdir(), "backup-"));
  onTestFinished(() => rmSync(work, { recursive: true, force: true }));
  [state, config, backup] = ["place/state", "place/it.toml", "it.backup"].map((path) => join(work, path)) as [
    string,
    string,
    string,
  ];
  mkdirSync(join(state, "repositories/debian"), { recursive: true });
  writeFileSync(config, 'state = "state"\n[[repository]]\nname = "debian"\nreadcap_file = "secret"\n');
  writeFileSync(join(work, "place/secret"), "URI:DIR2-RO:of-a-test\n", { mode: 0o400 });
  writeFileSync(join(state, "repositories/debian/signing-key.asc"), "the key\n", { mode: 0o600 });
  writeFileSync(join(state, "last-dates.json"), '{"debian/sid": 1000000000, "debian/far": 32503680000}\n');
  const root = openStateDatabase(join(state, "database"));
  const store = new PublicationStore(root, name);
  await store.pins.rollBack(sid, "20260101T000000Z");
  new FirstOwnerStore(root, name, silentLog).of(sid).set("hello", { owner: "alice", sinceMs: 5 });
  await root.flushed;
  await root.close();
});

const request = () => ({
  file: backup,
  configurationFile: config,
  stateDirectory: state,
  isStateConfigured: true,
});

async function backedUpAndLost(): Promise<void> {
  await makeBackup(request());
  rmSync(join(work, "place"), { recursive: true });
}

test("a restore brings back files with their modes, records, and Dates that are not earlier than any that was served", async () => {
  await backedUpAndLost();
  const beforeSeconds = Math.floor(Date.now() / 1000);
  const { files, records } = await restoreBackup({ ...again, file: backup });
  expect(files).toContain(config);
  expect(records).toBe(2);
  expect(statSync(backup).mode & 0o777).toBe(0o600);
  expect(statSync(join(work, "place/secret")).mode & 0o777).toBe(0o400);
  expect(readFileSync(join(state, "repositories/debian/signing-key.asc"), "utf8")).toBe("the key\n");
  const dates = JSON.parse(readFileSync(join(state, "last-dates.json"), "utf8")) as Record<string, number>;
  expect(dates["debian/sid"]).toBeGreaterThanOrEqual(beforeSeconds - 11);
  expect(dates["debian/sid"]).toBeLessThanOrEqual(Date.now() / 1000 - 10);
  expect(dates["debian/far"]).toBe(32_503_680_000);
  const root = openStateDatabase(join(state, "database"));
  onTestFinished(() => root.close());
  expect(new PublicationStore(root, name).pins.rolledBackTo(sid)).toBe("20260101T000000Z");
  expect(new FirstOwnerStore(root, name, silentLog).of(sid).get("hello")).toEqual({ owner: "alice", sinceMs: 5 });
});

test("the configuration can go elsewhere, and the files that it names relative to itself go with it", async () => {
  await backedUpAndLost();
  const { stateDirectory } = await restoreBackup({
    ...again,
    file: backup,
    configurationFile: join(work, "new/it.toml"),
  });
  expect(stateDirectory).toBe(join(work, "new/state"));
  expect(readFileSync(join(work, "new/secret"), "utf8")).toContain("URI:DIR2-RO");
  expect(existsSync(join(work, "place"))).toBe(false);
});

test("a backup never replaces a file, and a backup that fails leaves none", async () => {
  writeFileSync(backup, "mine");
  await expect(makeBackup(request())).rejects.toThrow(`${backup} exists already`);
  expect(readFileSync(backup, "utf8")).toBe("mine");
  rmSync(backup);
  rmSync(join(work, "place/secret"));
  await expect(makeBackup(request())).rejects.toThrow("place/secret, which the configuration names, does not exist");
  expect(readdirSync(work)).toEqual(["place"]);
});

test("a truncated backup is refused at every length, and nothing is written", async () => {
  await backedUpAndLost();
  const whole = readFileSync(backup);
  // The last block but two ends the list of files; what follows is only padding.
  for (let length = 0; length < whole.length - 1024; length += 256) {
    writeFileSync(backup, whole);
    truncateSync(backup, length);
    await expect(restoreBackup({ ...again, file: backup }), `${length} bytes`).rejects.toThrow(
      /is incomplete|is not a backup|damaged/,
    );
  }
  expect(readdirSync(work)).toEqual(["it.backup"]);
});

test("a backup with one changed byte in any file is refused, and nothing is written", async () => {
  await backedUpAndLost();
  const whole = readFileSync(backup);
  for (const text of ["the key", "of-a-test", "alice", "1000000000", '"createdMs"', '"sha256"', '"path"']) {
    const changed = Buffer.from(whole);
    const at = changed.indexOf(text);
    expect(at, text).toBeGreaterThan(0);
    changed[at + 1] = (changed[at + 1] ?? 0) ^ 1;
    writeFileSync(backup, changed);
    await expect(restoreBackup({ ...again, file: backup }), text).rejects.toThrow(/damaged|incomplete/);
  }
  expect(readdirSync(work)).toEqual(["it.backup"]);
});

test("what is not a backup is refused with its name", async () => {
  writeFileSync(backup, "PK\u0003\u0004 not a backup".repeat(100));
  await expect(restoreBackup({ ...again, file: backup })).rejects.toThrow(`${backup} is incomplete or damaged`);
  await expect(restoreBackup({ ...again, file: join(work, "none") })).rejects.toThrow("no such file or directory");
});

test("a backup in a newer format, or of a newer state, is refused with the version that is needed", async () => {
  await backedUpAndLost();
  const whole = readFileSync(backup);
  const replaced = (from: string, to: string) => {
    const changed = Buffer.from(whole.toString("latin1").replace(from, to), "latin1");
    expect(changed).toHaveLength(whole.length);
    writeFileSync(backup, changed);
  };
  replaced('"format": 1', '"format": 9');
  await expect(restoreBackup({ ...again, file: backup })).rejects.toThrow(/was made by tahoe-apt .* newer format \(9/);
  const about = { program: "9.9.9", createdMs: 0, repositories: [], state: { directory: state, isConfigured: false } };
  const none = (async function* () {})();
  writeFileSync(backup, await buffer(writeArchive({ ...about, stateFormat: stateFormat + 1 }, none)));
  await expect(restoreBackup({ ...again, file: backup })).rejects.toThrow(/is from tahoe-apt 9\.9\.9/);
});

test("a restore refuses a state directory with content and a changed configuration, unless it is forced", async () => {
  await makeBackup(request());
  await expect(restoreBackup({ ...again, file: backup })).rejects.toThrow(/is not empty: it contains/);
  const elsewhere = join(work, "elsewhere");
  writeFileSync(join(work, "place/secret.new"), "another");
  rmSync(join(work, "place/secret"));
  writeFileSync(join(work, "place/secret"), "another");
  await expect(restoreBackup({ ...again, file: backup, stateDirectory: elsewhere })).rejects.toThrow(
    "place/secret exists already, with other content: --force replaces it",
  );
  expect(existsSync(elsewhere)).toBe(false);
  writeFileSync(join(state, "repositories/debian/signing-key.asc"), "a newer key\n");
  const { setAside } = await restoreBackup({ ...again, file: backup, force: true });
  expect(readFileSync(join(setAside ?? "", "repositories/debian/signing-key.asc"), "utf8")).toBe("a newer key\n");
  expect(readFileSync(join(state, "repositories/debian/signing-key.asc"), "utf8")).toBe("the key\n");
});

test("an interrupted restore keeps servers from starting, and can be repeated without force", async () => {
  await backedUpAndLost();
  // The place of one file is occupied by a directory, so that the restore fails in the middle.
  mkdirSync(join(work, "place/secret/x"), { recursive: true });
  await expect(restoreBackup({ ...again, file: backup, force: true })).rejects.toThrow(/cannot write .*secret/);
  expect(() => checkState(state, silentLog)).toThrow(`a restore into ${state} was interrupted: repeat it`);
  await expect(makeBackup({ ...request(), file: `${backup}.2` })).rejects.toThrow(/was interrupted/);
  rmSync(join(work, "place/secret"), { recursive: true });
  await restoreBackup({ ...again, file: backup });
  expect(() => checkState(state, silentLog)).not.toThrow();
  expect(readFileSync(join(state, "repositories/debian/signing-key.asc"), "utf8")).toBe("the key\n");
});

test("a state of a newer format is refused with the version that is needed; unknown fields and damage are not", async () => {
  const mark = join(state, "version.json");
  checkState(state, silentLog);
  await markState(state, silentLog);
  expect(JSON.parse(readFileSync(mark, "utf8"))).toMatchObject({ format: stateFormat });
  writeFileSync(mark, JSON.stringify({ format: stateFormat + 1, program: "9.9.9", later: ["a", "field"] }));
  expect(() => checkState(state, silentLog)).toThrow(/is from tahoe-apt 9\.9\.9, .*install 9\.9\.9 or later/);
  await expect(makeBackup(request())).rejects.toThrow(/is from tahoe-apt 9\.9\.9/);
  expect(JSON.parse(readFileSync(mark, "utf8"))).toMatchObject({ format: stateFormat + 1 });
  writeFileSync(mark, JSON.stringify({ format: stateFormat, program: "9.9.9", later: ["a", "field"] }));
  checkState(state, silentLog);
  const warnings: string[] = [];
  writeFileSync(mark, '{"form');
  checkState(state, { ...silentLog, warn: (_, text) => warnings.push(text) });
  expect(warnings).toEqual(["the version of the state directory could not be read"]);
});

test("files that a file of builders names are found, and stay where they are if a path to them is absolute", () => {
  mkdirSync(join(work, "more"));
  const builders = join(work, "more/builders.toml");
  writeFileSync(builders, '[[builder]]\nname = "a"\ndirectory = "x"\ntoken_file = "a.token"\n');
  writeFileSync(config, `[[repository]]\nbuilders_file = "../more/builders.toml"\nsigning_key_file = ["a", "/b"]\n`);
  expect(filesNamedIn(config)).toEqual([
    { file: builders, isAbsolute: false },
    { file: join(work, "more/a.token"), isAbsolute: false },
    { file: join(work, "place/a"), isAbsolute: false },
    { file: "/b", isAbsolute: true },
  ]);
  writeFileSync(config, `[[repository]]\nbuilders_file = ${JSON.stringify(builders)}\n`);
  expect(filesNamedIn(config).map(({ isAbsolute }) => isAbsolute)).toEqual([true, true]);
});

test("a credential is backed up from the directory beside the configuration, also one that a file of builders names", () => {
  const place = join(work, "place");
  mkdirSync(join(place, "credentials"));
  writeFileSync(join(place, "credentials/alice.token"), "a-token-that-is-long-enough");
  writeFileSync(join(place, "builders.toml"), '[[builder]]\ntoken_file = "credential:alice.token"\n');
  writeFileSync(config, '[[repository]]\nbuilders_file = "builders.toml"\n');
  expect(filesNamedIn(config)).toEqual([
    { file: join(place, "builders.toml"), isAbsolute: false },
    { file: join(place, "credentials/alice.token"), isAbsolute: false },
  ]);
});

test("credentials are restored to another machine, which has none, and to another place", async () => {
  mkdirSync(join(work, "place/credentials"));
  writeFileSync(join(work, "place/credentials/debian.readcap"), "URI:DIR2-RO:of-a-test\n", { mode: 0o600 });
  const text = 'state = "state"\n[[repository]]\nname = "debian"\nreadcap_file = "credential:debian.readcap"\n';
  writeFileSync(config, text);
  await backedUpAndLost();
  await restoreBackup({ ...again, file: backup });
  await restoreBackup({ ...again, file: backup, configurationFile: join(work, "elsewhere/it.toml") });
  for (const place of ["place", "elsewhere"]) {
    const file = join(work, place, "credentials/debian.readcap");
    expect([readFileSync(file, "utf8"), statSync(file).mode & 0o777]).toEqual(["URI:DIR2-RO:of-a-test\n", 0o600]);
  }
});

test("a backup that lacks a credential is refused with its name", async () => {
  writeFileSync(
    config,
    'state = "state"\n[[repository]]\nname = "debian"\nreadcap_file = "credential:debian.readcap"\n',
  );
  await expect(makeBackup(request())).rejects.toThrow(
    `${join(work, "place/credentials/debian.readcap")}, which the configuration names, does not exist`,
  );
});

test("every key of the configuration that names a file to read ends with _file, so that a backup finds it", () => {
  const schema = ["config-schema", "builders-file"].map((each) => readProjectFile(`src/config/${each}.ts`)).join("");
  const readers = schema.matchAll(
    /^\s+(\w+): .*\b(?:secretFile|keyFile|capFile|buildersFile|readSecret|readCertificates)\b/gm,
  );
  const keys = [...readers].map(([, key = ""]) => key).filter((key) => key !== "armored");
  expect(keys.length).toBeGreaterThan(7);
  expect(keys.filter((key) => !key.endsWith("_file"))).toEqual([]);
});
