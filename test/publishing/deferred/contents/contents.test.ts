// Contents follow the packages in the background: correct, in every form, and equal to a build from nothing.
import { dirname, join } from "node:path";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { expect, test } from "vitest";
import { cases } from "../../../support/cases.ts";
import type { DebRecipe } from "../../../support/debs.ts";
import { aDeb, runTool } from "../../../support/debs.ts";
import { ServedFolder, servedContents, sha256 } from "../../../support/served-folder.ts";

const amd64 = "dists/sid/main/binary-amd64";

const withFiles = (name: string, paths: readonly string[], more: DebRecipe = {}): Promise<Buffer> =>
  aDeb({
    package: name,
    architecture: "amd64",
    files: Object.fromEntries(paths.map((path) => [`./${path}`, ""])),
    ...more,
    fields: { Section: "utils", ...more.fields },
  });

const nameOf = (location: string): string => location.slice(location.lastIndexOf("/") + 1);
const byName = (a: string, b: string): number => (nameOf(a) < nameOf(b) ? -1 : nameOf(a) > nameOf(b) ? 1 : 0);

/** The expected Contents, from pairs of path and package. */
function linesOf(pairs: readonly (readonly [path: string, location: string])[]): string {
  const byPath = new Map<string, Set<string>>();
  for (const [path, location] of pairs) byPath.set(path, (byPath.get(path) ?? new Set()).add(location));
  const lines = [...byPath].map(([path, locations]) => `${path.padEnd(55)} ${[...locations].sort(byName).join(",")}\n`);
  return lines.sort((a, b) => (a.split(/ +\S+\n$/)[0]! < b.split(/ +\S+\n$/)[0]! ? -1 : 1)).join("");
}

test("packages are served at once, and Contents with a later publication, listed in every form", async () => {
  const served = new ServedFolder({ contents: true });
  served.put(`${amd64}/a.deb`, await withFiles("a", ["usr/bin/a", "etc/a"]));
  served.put("dists/sid/main/binary-all/b.deb", await withFiles("b", ["etc/a", "etc/b"], { architecture: "all" }));
  served.put("dists/sid/main/binary-arm64/c.deb", await withFiles("c", ["etc/c"], { architecture: "arm64" }));
  served.put("dists/sid/contrib/binary-amd64/d.deb", await withFiles("d", ["etc/a"], { fields: { Section: "x y" } }));
  const { publications } = await served.ping();
  const before = await served.text("dists/sid/InRelease");
  expect(before).toContain("main/binary-amd64/Packages.xz");
  expect(before).not.toContain("Contents");
  await expect.poll(() => served.text("dists/sid/InRelease")).toContain("Contents");
  const release = await served.text("dists/sid/InRelease");
  expect(release > before || release.length > before.length).toBe(true);
  expect(publications).toHaveLength(1);
  const main = linesOf([
    ["usr/bin/a", "utils/a"],
    ["etc/a", "utils/a"],
    ["etc/a", "utils/b"],
    ["etc/b", "utils/b"],
  ]);
  const b = [
    ["etc/a", "utils/b"],
    ["etc/b", "utils/b"],
  ] as const;
  const wanted = {
    "main/Contents-amd64": main,
    "main/Contents-arm64": linesOf([["etc/c", "utils/c"], ...b]),
    "contrib/Contents-amd64": linesOf([["etc/a", "d"]]),
    "contrib/Contents-arm64": "",
    "Contents-amd64": main.replace("utils/a,utils/b", "utils/a,utils/b,d"),
    "Contents-arm64": linesOf([["etc/c", "utils/c"], ...b]),
  };
  const named = [...release.matchAll(/^ ([0-9a-f]{64}) (\d+) (.*Contents.*)$/gm)];
  expect(named.map(([, , , path = ""]) => path).toSorted()).toEqual(
    Object.keys(wanted)
      .flatMap((path) => [path, `${path}.gz`, `${path}.xz`])
      .toSorted(),
  );
  for (const [, digest, size, path = ""] of named) {
    const bytes = await served.bytes(`dists/sid/${path}`);
    expect(sha256(bytes!), path).toBe(digest);
    expect(bytes!.length, path).toBe(Number(size));
    const directory = path.includes("/") ? `${dirname(path)}/` : "";
    expect(await served.bytes(`dists/sid/${directory}by-hash/SHA256/${digest}`), path).toEqual(bytes);
    const plain = path.endsWith(".gz")
      ? gunzipSync(bytes!)
      : path.endsWith(".xz")
        ? runTool("xz", ["-dc"], bytes!)
        : bytes!;
    expect(plain.toString(), path).toBe(wanted[path.replace(/\.[gx]z$/, "") as keyof typeof wanted]);
  }
});

test("packages for debian-installer have their own Contents", async () => {
  const served = new ServedFolder({ contents: true });
  served.put(`${amd64}/a.deb`, await withFiles("a", ["bin/a"]));
  served.put("dists/sid/main/debian-installer/binary-amd64/b.udeb", await withFiles("b", ["bin/b"]));
  await served.ping();
  expect(await servedContents(served, "main/Contents-udeb-amd64")).toBe(linesOf([["bin/b", "utils/b"]]));
  expect(await servedContents(served, "main/Contents-amd64")).toBe(linesOf([["bin/a", "utils/a"]]));
  expect(await servedContents(served, "Contents-amd64")).toBe(linesOf([["bin/a", "utils/a"]]));
});

test("Ubuntu's packages of debug symbols are listed in Contents", async () => {
  const served = new ServedFolder({ contents: true });
  served.put(`${amd64}/a-dbgsym_1_amd64.ddeb`, await withFiles("a-dbgsym", ["usr/lib/debug/a"]));
  await served.ping();
  expect(await servedContents(served, "main/Contents-amd64")).toBe(linesOf([["usr/lib/debug/a", "utils/a-dbgsym"]]));
});

test("paths and packages are those that apt-ftparchive finds", async () => {
  const served = new ServedFolder({ contents: true });
  for (let n = 0; n < 30; n++) {
    const own = Array.from({ length: 12 }, (_none, k) => `usr/share/p${n}/file ${k}`);
    const deb = await withFiles(`p${n}`, [...own, "usr/share/common/+~", `etc/${n % 3}`]);
    served.put(`${amd64}/p${n}.deb`, deb);
  }
  await served.ping();
  const ours = await servedContents(served, "main/Contents-amd64");
  const theirs = runTool("apt-ftparchive", ["contents", join(served.folder, amd64)], "", "apt-utils").toString();
  const comparable = (text: string) =>
    [...text.matchAll(/^(.*\S)\s+(\S+)$/gm)]
      .map(
        ([, path = "", packages = ""]) => `${path}: ${packages.replaceAll("utils/", "").split(",").toSorted().join()}`,
      )
      .toSorted();
  expect(comparable(ours).length).toBe(30 * 12 + 4);
  expect(comparable(ours)).toEqual(comparable(theirs));
});

const path = fc.stringMatching(/^(usr|etc)\/[a-f]{1,3}$/);
const step = fc.record({
  slot: fc.nat({ max: 7 }),
  place: fc.constantFrom("main/binary-amd64", "main/binary-all", "contrib/binary-amd64"),
  kind: fc.constantFrom("put", "put", "put", "remove", "restart"),
  name: fc.constantFrom("a", "b", "c"),
  version: fc.constantFrom("1", "2", "3"),
  section: fc.constantFrom("utils", "libs"),
  files: fc.array(path, { maxLength: 40 }),
});

/** A clock with a second between any two publications, without waiting. */
function hurrying(): () => number {
  let nowMs = Date.now();
  return () => (nowMs += 2000);
}

test("after any history, Contents are byte for byte equal to a build from nothing", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 8 }), async (steps) => {
      const [grown, fresh] = [0, 1].map(() => new ServedFolder({ contents: true, now: hurrying() })) as [
        ServedFolder,
        ServedFolder,
      ];
      for (const [at, { slot, place, kind, name, version, section, files }] of steps.entries()) {
        const target = `dists/sid/${place}/slot${slot}.deb`;
        const architecture = place.endsWith("all") ? "all" : "amd64";
        const deb = await withFiles(name, files, { version, architecture, fields: { Section: section } });
        if (kind === "restart") await grown.restart();
        else if (kind === "put") for (const each of [grown, fresh]) each.put(target, deb, 1_700_000_000 + at);
        else for (const each of [grown, fresh]) each.remove(target, { force: true });
        for (const each of ["main/binary-amd64", "contrib/binary-amd64"]) {
          for (const served of [grown, fresh]) served.makeDirectory(`dists/sid/${each}`);
        }
        await grown.ping();
        await grown.deferredGenerated();
      }
      await fresh.ping();
      await fresh.deferredGenerated();
      for (const index of ["main/Contents-amd64", "contrib/Contents-amd64", "Contents-amd64"]) {
        for (const form of ["", ".gz", ".xz"]) {
          const [ours, theirs] = [grown, fresh].map((served) => served.bytes(`dists/sid/${index}${form}`));
          expect((await ours)?.equals((await theirs) ?? Buffer.of()), `${index}${form}`).toBe(true);
        }
      }
    }),
    { numRuns: cases(15) },
  );
});

test("a file disappears with the last version of a package that has it, and not before", async () => {
  const served = new ServedFolder({ contents: true, now: hurrying() });
  const filler = Array.from({ length: 100 }, (_none, n) => `usr/share/filler/${n}`);
  served.put(`${amd64}/filler.deb`, await withFiles("filler", filler));
  served.put(`${amd64}/1.deb`, await withFiles("a", ["etc/both", "etc/one"], { version: "1" }));
  served.put(`${amd64}/2.deb`, await withFiles("a", ["etc/both", "etc/two"], { version: "2" }));
  served.put("dists/sid/main/binary-all/3.deb", await withFiles("a", ["etc/both"], { architecture: "all" }));
  const paths = async (): Promise<readonly string[]> => {
    await served.ping();
    const text = await servedContents(served, "main/Contents-amd64");
    return [...text.matchAll(/^(etc\/\S*) +utils\/a$/gm)].map(([, at = ""]) => at);
  };
  expect(await paths()).toEqual(["etc/both", "etc/one", "etc/two"]);
  served.remove(`${amd64}/2.deb`);
  expect(await paths()).toEqual(["etc/both", "etc/one"]);
  served.remove(`${amd64}/1.deb`);
  expect(await paths()).toEqual(["etc/both"]);
  served.remove("dists/sid/main/binary-all/3.deb");
  expect(await paths()).toEqual([]);
  served.put(`${amd64}/1.deb`, await withFiles("a", ["etc/both", "etc/one"], { version: "1" }));
  expect(await paths()).toEqual(["etc/both", "etc/one"]);
});

test("each of many packages disappears with its files, whatever came after it", async () => {
  const served = new ServedFolder({ contents: true, now: hurrying() });
  const count = 100;
  for (let n = 0; n < count; n++) served.put(`${amd64}/p${n}.deb`, await withFiles(`p${n}`, [`etc/${n}`]));
  await served.ping();
  await served.deferredGenerated();
  served.put(`${amd64}/last.deb`, await withFiles("last", ["etc/last"]));
  await served.ping();
  expect((await servedContents(served, "main/Contents-amd64")).split("\n")).toHaveLength(count + 2);
  for (let n = 0; n < count; n++) served.remove(`${amd64}/p${n}.deb`);
  await served.ping();
  expect(await servedContents(served, "main/Contents-amd64")).toBe(linesOf([["etc/last", "utils/last"]]));
});
