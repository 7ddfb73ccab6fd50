// Overrides change the fields of matching packages in indices, also if the rules change and the packages do not.
import { join } from "node:path";
import { expect, test } from "vitest";
import type { OverrideRule } from "../../../src/catalog/suite/overrides.ts";
import { OverridesFile } from "../../../src/config/overrides-file.ts";
import { aDeb, aDsc } from "../../support/debs.ts";
import { ServedFolder } from "../../support/served-folder.ts";

const amd64 = "dists/sid/main/binary-amd64";

function withOverrides(configured: readonly OverrideRule[] = []): {
  readonly served: ServedFolder;
  readonly overrides: OverridesFile;
} {
  let overrides: OverridesFile | undefined;
  const served: ServedFolder = new ServedFolder({
    overrides: (suite) => {
      overrides ??= new OverridesFile(join(served.state, "overrides.toml"), configured, () => {});
      return overrides.of(suite);
    },
  });
  overrides ??= new OverridesFile(join(served.state, "overrides.toml"), configured, () => {});
  return { served, overrides };
}

async function put(served: ServedFolder, name: string, fields: Record<string, string> = {}, at = 1_700_000_000) {
  served.put(`${amd64}/${name}.deb`, await aDeb({ package: name, architecture: "amd64", fields }), at);
}

async function stanzaOf(served: ServedFolder, name: string, index = `${amd64}/Packages`): Promise<string> {
  const stanzas = (await served.text(index)).split("\n\n");
  return stanzas.find((stanza) => stanza.startsWith(`Package: ${name}\n`)) ?? "";
}

test("a rule changes only the fields of the packages that it matches", async () => {
  const { served, overrides } = withOverrides();
  await put(served, "one", { Section: "misc", Priority: "extra" });
  await put(served, "two", { Section: "misc" }, 1_700_000_001);
  await served.ping();
  const before = await stanzaOf(served, "two");
  await overrides.change({ packages: "one" }, { Section: "utils", "Phased-Update-Percentage": "30" });
  await served.ping();
  const stanza = await stanzaOf(served, "one");
  expect(stanza).toMatch(/^Section: utils$/m);
  expect(stanza).toMatch(/^Priority: extra$/m);
  expect(stanza).toMatch(/^Phased-Update-Percentage: 30$/m);
  expect(stanza).not.toContain("misc");
  expect(await stanzaOf(served, "two")).toBe(before);
});

test("if a rule is changed and then removed, the index is the same as before the rule", async () => {
  const { served, overrides } = withOverrides();
  await put(served, "hello");
  await served.ping();
  const before = await served.text(`${amd64}/Packages`);
  for (const percent of ["10", "50"]) {
    await overrides.change({ packages: "src:hello" }, { "Phased-Update-Percentage": percent });
    await served.ping();
    expect(await stanzaOf(served, "hello")).toContain(`Phased-Update-Percentage: ${percent}`);
  }
  await overrides.change({ packages: "src:hello" }, { "phased-update-percentage": undefined });
  expect(overrides.rules()).toEqual([]);
  await served.ping();
  expect(await served.text(`${amd64}/Packages`)).toBe(before);
});

test("an index with overrides is the same whether it is updated or built anew", async () => {
  const { served, overrides } = withOverrides();
  await put(served, "a");
  await put(served, "b", {}, 1_700_000_001);
  await served.ping();
  await overrides.change({ packages: "b" }, { Section: "net" });
  await served.ping();
  await put(served, "c", {}, 1_700_000_002);
  await served.ping();
  const changed = await served.text(`${amd64}/Packages`);
  await served.restart();
  await served.ping();
  expect(await served.text(`${amd64}/Packages`)).toBe(changed);
  expect(await stanzaOf(served, "b")).toContain("Section: net");
});

test("rules apply to Sources too, except for phased updates", async () => {
  const { served, overrides } = withOverrides();
  for (const [name, bytes] of aDsc({ source: "hello", version: "1.0-1" }).files)
    served.put(`dists/sid/main/source/${name}`, bytes);
  await overrides.change({ packages: "hello" }, { Section: "net", "Phased-Update-Percentage": "5" });
  await served.ping();
  const stanza = await stanzaOf(served, "hello", "dists/sid/main/source/Sources");
  expect(stanza).toContain("Section: net");
  expect(stanza).not.toContain("Phased");
});

test("if several rules match, the last one applies, and a rule for another suite does not", async () => {
  const { served, overrides } = withOverrides();
  await put(served, "hello");
  await overrides.change({ packages: "*" }, { Section: "one", Priority: "optional" });
  await overrides.change({ packages: "hel*" }, { Section: "two" });
  await overrides.change({ packages: "hello", suite: "trixie" }, { Section: "three" });
  await served.ping();
  expect(await stanzaOf(served, "hello")).toMatch(
    /Section: two\n(.*\n)*Priority: optional|Priority: optional\n(.*\n)*Section: two/,
  );
});

test("a configured rule for one version changes no other version, and a rule set by command overrides it", async () => {
  const { served, overrides } = withOverrides([
    { packages: "hello=2.0", set: { "Phased-Update-Percentage": "30", Section: "libs" } },
  ]);
  for (const [n, version] of ["1.0", "2.0"].entries()) {
    const deb = await aDeb({ package: "hello", version, architecture: "amd64", fields: { Section: "misc" } });
    served.put(`${amd64}/${version}.deb`, deb, 1_700_000_000 + n);
  }
  const stanzas = async () => {
    await served.ping();
    const text = await served.text(`${amd64}/Packages`);
    return Object.fromEntries(text.split("\n\n").map((each) => [/^Version: (.*)$/m.exec(each)?.[1] ?? "", each]));
  };
  const before = await stanzas();
  expect(before["1.0"]).toMatch(/^Section: misc$/m);
  expect(before["1.0"]).not.toContain("Phased-Update-Percentage");
  expect(before["2.0"]).toMatch(/^Section: libs$/m);
  expect(before["2.0"]).toMatch(/^Phased-Update-Percentage: 30$/m);
  await overrides.change({ packages: "hello=2.0" }, { "Phased-Update-Percentage": "60" });
  const after = await stanzas();
  expect(after["2.0"]).toMatch(/^Phased-Update-Percentage: 60$/m);
  expect(after["2.0"]).toMatch(/^Section: libs$/m);
  expect(after["1.0"]).toBe(before["1.0"]);
});
