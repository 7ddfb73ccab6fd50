// Contents of a suite that is rolled back: those of the packages that it serves, whenever they were generated.
import { expect, test } from "vitest";
import { parseSuite } from "../../../../src/base/names.ts";
import { lastWithSamePackages } from "../../../../src/publishing/build/deferred-files.ts";
import type { Manifest } from "../../../../src/publishing/store/publication.ts";
import { aDeb } from "../../../support/debs.ts";
import { packageNames, ServedFolder, servedContents } from "../../../support/served-folder.ts";

const sid = parseSuite("sid");
const amd64 = "dists/sid/main/binary-amd64";
const contents = "main/Contents-amd64";

/** Two uploads one after the other, with Contents after each; the ids of all four publications. */
async function twoUploads() {
  const served = new ServedFolder({ contents: true });
  const ids: string[] = [];
  for (const name of ["a", "b"]) {
    served.put(
      `${amd64}/${name}.deb`,
      await aDeb({ package: name, architecture: "amd64", files: { [`./${name}`]: "" } }),
    );
    ids.push((await served.ping()).publications[0]?.id ?? "");
    await served.deferredGenerated();
    ids.push(served.repository.status().suites[0]?.id ?? "");
  }
  return { served, ids };
}

const files = async (served: ServedFolder): Promise<readonly string[]> =>
  [...(await servedContents(served, contents)).matchAll(/^(\S+) /gm)].map(([, path = ""]) => path);

test.each([
  [0, "a", "one without Contents"],
  [1, "a", "one with Contents"],
  [2, "a b", "one with the Contents of the previous packages"],
])(
  "after a rollback to publication %i, Contents list the files of %s: the publication was %s",
  async (nth, packages) => {
    const { served, ids } = await twoUploads();
    expect(new Set(ids).size).toBe(4);
    await served.repository.snapshotControl.rollBack(sid, ids[nth]!);
    const expected = packages.split(" ");
    const isServed = async () => {
      expect((await packageNames(served)).map((one) => one.split(" ")[0])).toEqual(expected);
      expect(await files(served)).toEqual(expected);
      expect(await served.text("dists/sid/Release")).toContain(` ${contents}.xz\n`);
      expect(served.repository.status().suites[0]?.rolledBackTo).toBe(ids[nth]);
    };
    await isServed();
    served.put(`${amd64}/c.deb`, await aDeb({ package: "c", architecture: "amd64", files: { "./c": "" } }));
    await served.ping();
    await isServed();
    await served.restart();
    await served.ping();
    await isServed();
    await served.repository.snapshotControl.resume(sid);
    expect(await files(served)).toEqual(["a", "b", "c"]);
  },
);

test("deferred files come from before other packages were published, even if the same ones are served again later", () => {
  const publication = (id: string, packages: string) =>
    ({
      id,
      indices: [{ directory: "main/binary-amd64", name: "Packages", forms: { plain: { sha256: packages } } }],
    }) as unknown as Manifest;
  const history = [publication("4", "a"), publication("3", "a b"), publication("2", "a"), publication("1", "a")];
  const lastLikeNth = (id: string) => lastWithSamePackages(history.find((one) => one.id === id)!, history);
  expect(["1", "2", "3", "4"].map(lastLikeNth)).toEqual(["2", "2", "3", "4"]);
});
