// The index of an architecture variant contains its own builds and the other packages of its base architecture.
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { expect, test } from "vitest";
import { cases } from "../../support/cases.ts";
import { aDeb, aDsc } from "../../support/debs.ts";
import { ServedFolder, sha256 } from "../../support/served-folder.ts";

const sid = "dists/sid";
const amd64 = `${sid}/main/binary-amd64`;
const amd64v3 = `${sid}/main/binary-amd64v3`;

interface Build {
  readonly name: string;
  readonly version?: string;
  readonly variant?: string;
  readonly architecture?: string;
}

/** The same options always give the same bytes, and another variant gives different bytes. */
const build = ({ name, version = "1.0", variant, architecture = "amd64" }: Build): Promise<Buffer> =>
  aDeb({
    package: name,
    version,
    architecture,
    fields: { "Architecture-Variant": variant },
    files: { [`./usr/bin/${name}`]: variant ?? "plain", ...(variant && { [`./usr/lib/${variant}/${name}`]: "" }) },
  });

/** The name, version and variant of each package in an index. */
async function packagesIn(served: ServedFolder, index: string): Promise<readonly string[]> {
  const stanzas = (await served.text(`${index}/Packages`)).split("\n\n").filter((stanza) => stanza.trim() !== "");
  const field = (stanza: string, name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(stanza)?.[1];
  return stanzas
    .map((stanza) =>
      ["Package", "Version", "Architecture-Variant"].flatMap((name) => field(stanza, name) ?? []).join(" "),
    )
    .toSorted((a, b) => (a < b ? -1 : 1));
}

const architecturesOf = async (served: ServedFolder): Promise<string | undefined> =>
  /^Architectures: (.*)$/m.exec(await served.text(`${sid}/Release`))?.[1];

test("a variant's index contains its builds and the base packages without one, and the base index contains no variant builds", async () => {
  const served = new ServedFolder();
  served.put(`${amd64}/hello_1.0.deb`, await build({ name: "hello" }));
  served.put(`${amd64}/hello_2.0.deb`, await build({ name: "hello", version: "2.0" }));
  served.put(`${amd64}/other.deb`, await build({ name: "other" }));
  served.put(`${amd64}/docs.deb`, await build({ name: "docs", architecture: "all" }));
  const fast = await build({ name: "hello", variant: "amd64v3" });
  served.put(`${amd64v3}/hello_1.0.deb`, fast);
  served.put(`${amd64v3}/only.deb`, await build({ name: "only", variant: "amd64v3" }));
  expect(await served.ping()).toMatchObject({ rejected: [] });
  expect(await architecturesOf(served)).toBe("amd64 amd64v3");
  expect(await packagesIn(served, amd64)).toEqual(["docs 1.0", "hello 1.0", "hello 2.0", "other 1.0"]);
  const all = ["docs 1.0", "hello 1.0 amd64v3", "hello 2.0", "only 1.0 amd64v3", "other 1.0"];
  expect(await packagesIn(served, amd64v3)).toEqual(all);
  expect(await served.text(`${amd64v3}/Release`)).toMatch(/^Architecture: amd64v3$/m);
  const stanza = (await served.text(`${amd64v3}/Packages`)).split("\n\n").find((each) => each.includes(sha256(fast)));
  expect(stanza).toMatch(/^Architecture: amd64\nArchitecture-Variant: amd64v3$|^Architecture-Variant: amd64v3$/m);
});

test("builds of a variant in the directory of the base architecture are only in the variant's index", async () => {
  const served = new ServedFolder();
  served.put(`${amd64}/hello.deb`, await build({ name: "hello" }));
  await served.ping();
  expect(await architecturesOf(served)).toBe("amd64");
  // Without a variant, this later link would win.
  served.put(`${amd64}/fast.deb`, await build({ name: "hello", variant: "amd64v3" }), 1_800_000_000);
  expect(await served.ping()).toMatchObject({ rejected: [] });
  expect(await architecturesOf(served)).toBe("amd64 amd64v3");
  expect(await packagesIn(served, amd64)).toEqual(["hello 1.0"]);
  expect(await packagesIn(served, amd64v3)).toEqual(["hello 1.0 amd64v3"]);
  served.remove(`${amd64}/fast.deb`);
  await served.ping();
  expect(await architecturesOf(served)).toBe("amd64");
  expect(await served.bytes(`${amd64v3}/Packages`)).toBeUndefined();
});

test("in a variant's index, a later build of the variant replaces the base package until the build is removed", async () => {
  const served = new ServedFolder();
  served.put(`${amd64v3}/first.deb`, await build({ name: "first", variant: "amd64v3" }));
  served.put(`${amd64}/hello.deb`, await build({ name: "hello" }));
  await served.ping();
  expect(await packagesIn(served, amd64v3)).toEqual(["first 1.0 amd64v3", "hello 1.0"]);
  served.put(`${amd64v3}/hello.deb`, await build({ name: "hello", variant: "amd64v3" }));
  await served.ping();
  expect(await packagesIn(served, amd64v3)).toEqual(["first 1.0 amd64v3", "hello 1.0 amd64v3"]);
  served.remove(`${amd64v3}/hello.deb`);
  await served.ping();
  expect(await packagesIn(served, amd64v3)).toEqual(["first 1.0 amd64v3", "hello 1.0"]);
});

test("a variant without a directory of its base architecture also creates the base index, without its own builds", async () => {
  const served = new ServedFolder();
  served.put(`${amd64v3}/hello.deb`, await build({ name: "hello", variant: "amd64v3" }));
  await served.ping();
  expect(await architecturesOf(served)).toBe("amd64 amd64v3");
  expect(await packagesIn(served, amd64)).toEqual([]);
});

test.each<readonly [what: string, build: Build]>([
  ["a package of the base architecture", { name: "hello" }],
  ["a package of another variant", { name: "hello", variant: "amd64v4" }],
])("a variant's directory that contains only %s has no index and hides no other package", async (_what, wrong) => {
  const served = new ServedFolder();
  served.put(`${amd64}/other.deb`, await build({ name: "other" }));
  served.put(`${amd64v3}/hello.deb`, await build(wrong));
  const { rejected } = await served.ping();
  expect(rejected).toMatchObject([{ path: `${amd64v3}/hello.deb`, code: "wrong-place" }]);
  expect(await architecturesOf(served)).toBe("amd64");
  expect(await served.bytes(`${amd64v3}/Packages`)).toBeUndefined();
});

test("a directory has no index while all its packages are rejected", async () => {
  const served = new ServedFolder();
  const arm64 = `${sid}/main/binary-arm64`;
  served.put(`${amd64}/hello.deb`, await build({ name: "hello" }));
  served.put(`${arm64}/hello.deb`, await build({ name: "hello" }));
  served.put(`${arm64}/text.deb`, Buffer.from("no package"));
  await served.ping();
  expect(await architecturesOf(served)).toBe("amd64");
  expect(await served.bytes(`${arm64}/Packages`)).toBeUndefined();
  served.put(`${arm64}/good.deb`, await build({ name: "good", architecture: "arm64" }));
  await served.ping();
  expect(await architecturesOf(served)).toBe("amd64 arm64");
  expect(await packagesIn(served, arm64)).toEqual(["good 1.0"]);
  served.remove(`${arm64}/good.deb`);
  served.remove(`${arm64}/hello.deb`);
  served.remove(`${arm64}/text.deb`);
  await served.ping();
  // Empty directories still have an index, so that clients can configure them before the first package is uploaded.
  expect(await architecturesOf(served)).toBe("amd64 arm64");
});

test("an empty directory of a variant has no index, and a suite with only rejected packages keeps its index", async () => {
  const served = new ServedFolder();
  served.put(`${amd64}/hello.deb`, await build({ name: "hello" }));
  served.put(`${amd64v3}/README`, Buffer.from("nothing yet"));
  await served.ping();
  expect(await architecturesOf(served)).toBe("amd64");
  const alone = new ServedFolder();
  alone.put(`${amd64}/text.deb`, Buffer.from("no package"));
  await alone.ping();
  expect(await architecturesOf(alone)).toBe("amd64");
});

test("riscv64 is not a variant, and a package cannot get into another architecture's index by its variant field", async () => {
  const served = new ServedFolder();
  served.put(`${sid}/main/binary-riscv64/hello.deb`, await build({ name: "hello", architecture: "riscv64" }));
  served.put(`${sid}/main/binary-risc/odd.deb`, await build({ name: "odd", architecture: "risc" }));
  served.put(`${amd64}/forged.deb`, await build({ name: "forged", variant: "riscv64" }));
  const { rejected } = await served.ping();
  expect(rejected).toMatchObject([{ path: `${amd64}/forged.deb`, code: "bad-control" }]);
  expect(await packagesIn(served, `${sid}/main/binary-riscv64`)).toEqual(["hello 1.0"]);
});

test("udebs, pdiffs and Contents of variants are complete", async () => {
  const served = new ServedFolder({ contents: true, translations: true, pdiffs: true });
  for (const variant of [undefined, "amd64v3"]) {
    const own = variant === undefined ? amd64 : amd64v3;
    served.put(`${own}/hello.deb`, await build({ name: "hello", ...(variant && { variant }) }));
    served.put(`${own}/hello.udeb`, await build({ name: "hello-udeb", ...(variant && { variant }) }));
  }
  served.put(`${amd64}/plain.deb`, await build({ name: "plain" }));
  served.put(`${amd64}/plain.udeb`, await build({ name: "plain-udeb" }));
  // Enough packages that a patch is shorter than the index.
  for (let index = 0; index < 20; index++) {
    served.put(`${amd64}/many${index}.udeb`, await build({ name: `many${index}-udeb` }));
    served.put(`${amd64}/many${index}.deb`, await build({ name: `many${index}`, architecture: "all" }));
  }
  for (const [name, bytes] of aDsc({ source: "hello" }).files) served.put(`${sid}/main/source/${name}`, bytes);
  await served.ping();
  await served.repository.deferredSettled();
  const installer = (architecture: string) => `${sid}/main/debian-installer/binary-${architecture}`;
  const few = async (index: string) => (await packagesIn(served, index)).filter((line) => !line.startsWith("many"));
  expect(await few(installer("amd64"))).toEqual(["hello-udeb 1.0", "plain-udeb 1.0"]);
  expect(await few(installer("amd64v3"))).toEqual(["hello-udeb 1.0 amd64v3", "plain-udeb 1.0"]);
  const contents = async (name: string) => gunzipSync((await served.bytes(`${sid}/${name}.gz`))!).toString();
  for (const directory of ["", "main/"]) {
    const plain = await contents(`${directory}Contents-amd64`);
    expect(plain).toMatch(/^usr\/bin\/plain\s/m);
    expect(plain).not.toContain("usr/lib/amd64v3");
    const fast = await contents(`${directory}Contents-amd64v3`);
    expect(fast).toMatch(/^usr\/lib\/amd64v3\/hello\s/m);
    expect(fast).toMatch(/^usr\/bin\/plain\s/m);
  }
  served.put(`${amd64v3}/plain.deb`, await build({ name: "plain", variant: "amd64v3" }));
  await served.ping();
  await served.repository.deferredSettled();
  expect(await few(amd64v3)).toEqual(["hello 1.0 amd64v3", "plain 1.0 amd64v3"]);
  expect(await served.text(`${amd64v3}/Packages.diff/Index`)).toMatch(/^SHA256-Current: /m);
});

test("a suite that is updated change by change has the same indices as a suite that is built at once", async () => {
  const place = fc.record({
    name: fc.constantFrom("a", "b"),
    version: fc.constantFrom("1", "1", "2"),
    variant: fc.constantFrom(undefined, "amd64v3"),
    apart: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(place, fc.constantFrom(true, true, false)), { minLength: 4, maxLength: 14 }),
      async (steps) => {
        const [grown, fresh] = [new ServedFolder(), new ServedFolder()];
        const pathOf = ({ name, version, variant, apart }: (typeof steps)[number][0]) =>
          `${sid}/main/binary-${(apart ? variant : undefined) ?? "amd64"}/${name}_${version}_${variant ?? "plain"}.deb`;
        const there = new Map<string, Buffer>();
        for (const served of [grown, fresh]) served.put(`${amd64}/z.deb`, await build({ name: "z" }));
        await grown.ping();
        for (const [one, stays] of steps) {
          const { name, version, variant } = one;
          const bytes = await build({ name, version, ...(variant && { variant }) });
          if (stays) there.set(pathOf(one), bytes);
          if (stays) grown.put(pathOf(one), bytes);
          else if (there.delete(pathOf(one))) grown.remove(pathOf(one));
          await grown.ping();
        }
        for (const [path, bytes] of there) fresh.put(path, bytes);
        await fresh.ping();
        for (const index of [amd64, amd64v3]) {
          expect((await grown.bytes(`${index}/Packages`))?.toString()).toBe(
            (await fresh.bytes(`${index}/Packages`))?.toString(),
          );
        }
      },
    ),
    { numRuns: cases(20) },
  );
});
