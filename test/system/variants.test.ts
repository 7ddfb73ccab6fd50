// Architecture variants in apt of Debian sid: served from a real grid, and as a site of plain files.
import { join } from "node:path";
import { expect, inject, onTestFinished, test } from "vitest";
import { Apt3 } from "../support/apt3.ts";
import { CommandLine } from "../support/command-line.ts";
import { aDeb } from "../support/debs.ts";
import { plainWebServer } from "../support/plain-web-server.ts";
import { ServedGrid } from "../support/served-grid.ts";

const amd64 = "dists/sid/main/binary-amd64";
const amd64v3 = "dists/sid/main/binary-amd64v3";
const fast = "-o APT::Architecture-Variants=amd64v3";
/** Ubuntu's dpkg has this file, Debian's not yet: a variant, its architecture, and the required processor features. */
const variantTable = "echo 'amd64v3 amd64 avx2' >/usr/share/dpkg/varianttable";

const build = (name: string, version: string, variant?: string, architecture = "amd64"): Promise<Buffer> =>
  aDeb({
    package: name,
    version,
    architecture,
    fields: { "Architecture-Variant": variant },
    files: { [`./opt-${name}`]: variant ?? "plain" },
  });

/** The versions that apt would install, by package, and whether they are a variant's build. */
async function offered(apt: Apt3, options: string): Promise<Readonly<Record<string, string>>> {
  const { exitCode, output } = await apt.run(`apt-get update --error-on=any ${options}`);
  expect(output).not.toMatch(/^[EWN]:/m);
  expect(exitCode).toBe(0);
  const shown = await apt.run(`apt-cache show --no-all-versions hello both newer only docs ${options}`);
  const stanzas = shown.output.split("\n\n").filter((stanza) => /^Package: /m.test(stanza));
  return Object.fromEntries(
    stanzas.map((stanza) => {
      const field = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(stanza)?.[1];
      return [field("Package") ?? "", `${field("Version")} ${field("Architecture-Variant") ?? "plain"}`];
    }),
  );
}

const forPlain = { hello: "1.0 plain", both: "1.0 plain", newer: "2.0 plain", docs: "1.0 plain" };
const forFast = {
  hello: "1.0 plain",
  both: "1.0 amd64v3",
  newer: "2.0 plain",
  only: "1.0 amd64v3",
  docs: "1.0 plain",
};

async function filled(): Promise<ServedGrid> {
  const grid = await ServedGrid.start(inject("webapiUrl"));
  onTestFinished(() => grid.end());
  await grid.put(
    amd64,
    new Map([
      ["hello.deb", await build("hello", "1.0")],
      ["both.deb", await build("both", "1.0")],
      ["newer.deb", await build("newer", "2.0")],
      ["docs.deb", await build("docs", "1.0", undefined, "all")],
      ["only.deb", await build("only", "1.0", "amd64v3")],
    ]),
  );
  return grid;
}

test("a client with a variant is offered its builds and all other packages, and one without is offered none of them", async () => {
  const grid = await filled();
  // All are rejected: such a directory must not hide the packages of the architecture.
  await grid.put(amd64v3, new Map([["wrong.deb", await build("wrong", "1.0")]]));
  await grid.ping();
  const source = { url: grid.url, suite: "sid", publicKey: grid.publicKey };
  const apt = await Apt3.start(source, "sid");
  onTestFinished(() => apt.close());
  await apt.run(variantTable);
  expect(await offered(apt, "")).toEqual(forPlain);
  expect(await offered(apt, fast)).toMatchObject({ both: "1.0 plain", only: "1.0 amd64v3" });
  await grid.put(
    amd64v3,
    new Map([
      ["both.deb", await build("both", "1.0", "amd64v3")],
      ["newer.deb", await build("newer", "1.0", "amd64v3")],
    ]),
  );
  await grid.ping();
  expect(await offered(apt, "")).toEqual(forPlain);
  expect(await offered(apt, fast)).toEqual(forFast);
  const installed = await apt.run(`apt-get install -y both ${fast} && cat /opt-both`);
  expect(installed.output).toMatch(/amd64v3\n?$/);
  const site = join(grid.work, "site");
  const flags = ["--config", join(grid.work, "tahoe-apt.toml"), "--state", join(grid.work, "state")];
  const exported = new CommandLine(["export", ...flags, site]);
  expect(await exported.ends(), exported.output).toBe(0);
  const url = await plainWebServer(site);
  const moved = `sed -i 's|^URIs:.*|URIs: ${url}|' /etc/apt/sources.list.d/it.sources`;
  await apt.run(`${moved}; rm -rf /var/lib/apt/lists/*`);
  expect(await offered(apt, fast)).toEqual(forFast);
  expect(await offered(apt, "")).toEqual(forPlain);
});
