// What can be asked about a repository, over a real folder.
import { expect, test } from "vitest";
import { Publications } from "../../../src/web/data/publications.ts";
import { PublishedData } from "../../../src/web/data/published-data.ts";
import type { RepositoryData } from "../../../src/web/data/repository-data.ts";
import { aDeb } from "../../support/debs.ts";
import { ScannedIndex } from "../../support/scanned-index.ts";
import { ServedFolder } from "../../support/served-folder.ts";

const noSignal = new AbortController().signal;

function dataOf({ repository }: ServedFolder): RepositoryData {
  const publications = new Publications([{ repository }]);
  return new PublishedData({ repository, publications, index: new ScannedIndex(publications), keys: [] });
}

test("a package is described with its versions in Debian's order, its relations and its dependents", async () => {
  const served = new ServedFolder();
  const put = async (name: string, version: string, fields: Record<string, string>) => {
    const bytes = await aDeb({ package: name, version, architecture: "amd64", fields });
    served.put(`dists/sid/main/binary-amd64/alice/${name}_${version}_amd64.deb`, bytes);
  };
  await put("hello", "1.9", { Description: "says hello\n To everybody.\n .\n  as is" });
  await put("hello", "1.10", { Depends: "libhello (>= 1), mail-agent | nowhere", Homepage: "javascript:alert(1)" });
  await put("libhello", "1", { Description: "a library" });
  await put("postfix", "3", { Provides: "mail-agent", Description: "sends mail" });
  await served.ping();
  const data = dataOf(served);

  const found = await data.packages({ text: "hello" }, noSignal);
  expect(found.entries.map(({ name }) => name)).toEqual(["hello", "libhello"]);
  const hello = await data.package("hello", noSignal);
  expect(hello?.suites[0]?.versions.map(({ version }) => version)).toEqual(["1.10", "1.9"]);
  expect(hello?.newest?.homepage).toBeUndefined();
  expect(hello?.newest?.relations[0]?.groups).toEqual([
    [{ name: "libhello", qualifier: undefined, restriction: "(>= 1)", resolved: "package", providers: [] }],
    [
      { name: "mail-agent", qualifier: undefined, restriction: "", resolved: "provided", providers: ["postfix"] },
      { name: "nowhere", qualifier: undefined, restriction: "", resolved: "unknown", providers: [] },
    ],
  ]);
  expect(hello?.newest?.files[0]).toMatchObject({
    builder: "dists/sid/main/binary-amd64/alice",
    uploadedSeconds: 1_700_000_000,
  });
  expect(hello?.suites[0]?.versions[1]?.description).toEqual({
    short: "says hello",
    paragraphs: [
      { kind: "text", text: "To everybody." },
      { kind: "verbatim", text: " as is" },
    ],
  });
  expect((await data.package("postfix", noSignal))?.dependents.entries).toMatchObject([
    { name: "hello", on: "mail-agent" },
  ]);
  expect(await data.package("absent", noSignal)).toBeUndefined();
});
