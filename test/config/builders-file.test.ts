// The builders file can change while a server runs, and an invalid file leaves the builders unchanged.
import { mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { loadConfiguration } from "../../src/config/load-config.ts";

const place = "dists/sid/main/binary-amd64";

/** A configuration with one repository, which has the builder alice in its table and a replaceable builders file. */
function aConfiguration() {
  const directory = mkdtempSync(join(tmpdir(), "builders-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const write = (name: string, text: string) => {
    writeFileSync(join(directory, "unfinished"), text, { mode: 0o600 });
    renameSync(join(directory, "unfinished"), join(directory, name));
  };
  const table = (name: string) =>
    `[[builder]]\nname = "${name}"\ntoken_file = "${name}.token"\ndirectory = "${place}/${name}"\n`;
  const know = (...names: readonly string[]) => {
    for (const name of names) write(`${name}.token`, `the-token-of-${name}\n`);
    write("builders.toml", names.map(table).join("\n"));
  };
  know("bob");
  write("alice.token", "the-token-of-alice");
  const own = table("alice").replace("[[builder]]", "[[repository.builder]]");
  write("c.toml", `[[repository]]\nname = "local"\nfolder = "."\nbuilders_file = "builders.toml"\n${own}`);
  const [repository] = loadConfiguration({ config: "c.toml" }, {}, directory).repositories;
  const complaints: string[] = [];
  const builders = () => repository!.builders((complaint) => complaints.push(complaint));
  return { directory, write, know, table, complaints, builders, names: () => builders().map(({ name }) => name) };
}

test("an added builder is accepted at once with its token, and a removed builder is no longer accepted", () => {
  const { know, names, builders, complaints } = aConfiguration();
  expect(names()).toEqual(["alice", "bob"]);
  know("bob", "carol");
  expect(names()).toEqual(["alice", "bob", "carol"]);
  expect(builders()[2]!.token.equals("the-token-of-carol")).toBe(true);
  know("carol");
  expect(names()).toEqual(["alice", "carol"]);
  know();
  expect(names()).toEqual(["alice"]);
  expect(complaints).toEqual([]);
});

test("while the file is invalid, the builders are unchanged and the problem is reported once", () => {
  const { directory, write, know, table, names, complaints } = aConfiguration();
  const stays = (complaint: string) => {
    expect(names()).toEqual(["alice", "bob"]);
    expect(names()).toEqual(["alice", "bob"]);
    expect(complaints.splice(0)).toEqual([
      `${directory}/builders.toml: ${complaint}; the settings in it stay as they were`,
    ]);
  };
  write("builders.toml", "[[builder]\n");
  stays("line 1 is not valid TOML: expected end of table array declaration");
  write("builders.toml", table("dave"));
  stays(`builder.0.token_file: ${directory}/dave.token: no such file or directory`);
  write("dave.token", "the-token-of-dave");
  expect(names()).toEqual(["alice", "dave"]);
  know("bob");
  expect(names()).toEqual(["alice", "bob"]);
  rmSync(join(directory, "builders.toml"));
  symlinkSync("builders.toml", join(directory, "builders.toml"));
  stays(`ELOOP: too many symbolic links encountered, open '${directory}/builders.toml'`);
  rmSync(join(directory, "builders.toml"));
  stays("no such file or directory");
  know("carol");
  expect(names()).toEqual(["alice", "carol"]);
});
