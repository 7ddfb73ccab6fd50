// Real packages of every shape in Debian's archive, in our indices and in those of Debian's own tools: the same
// packages, fields and values. A printed table lists all differences with their reasons.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fetch from "node-fetch";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseStanzas } from "../../src/debian/deb822.ts";
import type { Stanza } from "../../src/debian/stanza.ts";
import { fieldOf } from "../../src/debian/stanza.ts";
import { archiveMissing } from "../support/debian-archive.ts";
import { runTool } from "../support/debs.ts";
import { fetchRealPackages } from "../support/real-packages.ts";
import { ServerUnderTest } from "../support/server.ts";

const fetchTimeoutMs = 600_000;
const lateTimeoutMs = 60_000;
const wantedBinaries = 150;
const wantedSources = 10;
const main = "dists/sid/main";

const missing = await archiveMissing();
if (missing !== undefined) process.stderr.write(`differential tests are skipped: ${missing}\n`);

const work = mkdtempSync(join(tmpdir(), "tahoe-apt-differential-"));
const tree = join(work, "tree");
let server: ServerUnderTest;

/** Repackages the same files in every form that dpkg-deb can write, because the archive has only two. */
function repack(): void {
  const debs = readdirSync(join(tree, main, "binary-amd64"), { recursive: true, encoding: "utf8" }).filter((name) =>
    name.endsWith(".deb"),
  );
  for (const [n, form] of ["gzip", "xz", "zstd", "none", "gzip", "zstd"].entries()) {
    const deb = join(tree, main, "binary-amd64", debs[n * 7] ?? "");
    const unpacked = join(work, `unpacked-${n}`);
    runTool("dpkg-deb", ["--raw-extract", deb, unpacked], "", "dpkg");
    rmSync(deb);
    runTool("dpkg-deb", ["--root-owner-group", `-Z${form}`, "--build", unpacked, deb], "", "dpkg");
  }
}

/** How many packages have each pair of compressions of control.tar and data.tar. */
function formsIn(): ReadonlyMap<string, number> {
  const forms = new Map<string, number>();
  for (const name of readdirSync(join(tree, main), { recursive: true, encoding: "utf8" })) {
    if (!/\.u?deb$/.test(name)) continue;
    const members = runTool("ar", ["t", join(tree, main, name)], "", "binutils")
      .toString()
      .split("\n");
    const form = members.filter((member) => member.includes(".tar")).join(" ");
    forms.set(form, (forms.get(form) ?? 0) + 1);
  }
  return forms;
}

const limits = { maxStanzaBytes: 2 ** 26, maxFields: 500, maxFieldNameBytes: 1000 };
const read = (text: Uint8Array | string): readonly Stanza[] => parseStanzas(Buffer.from(text as string), limits);

async function served(path: string): Promise<readonly Stanza[]> {
  const reply = await fetch(`${server.url}/debian/${main}/${path}`);
  if (reply.status !== 200) throw new Error(`${path} is answered ${reply.status}`);
  return read(Buffer.from(await reply.arrayBuffer()));
}

const tool = (command: string, args: readonly string[], debianPackage: string): readonly Stanza[] => {
  runTool(command, ["--version"], "", debianPackage);
  return read(execFileSync(command, args, { cwd: tree, maxBuffer: 2 ** 28, stdio: ["ignore", "pipe", "ignore"] }));
};

/** An intended difference of a field in one tool's output. Undefined: the field is missing. */
interface Explained {
  readonly tool: string;
  readonly field: string;
  readonly matches: (ours: string | undefined, theirs: string | undefined) => boolean;
  readonly why: string;
}

const onlyTheirs = (ours: string | undefined, theirs: string | undefined): boolean =>
  ours === undefined && theirs !== undefined;
const lastName = (path: string | undefined): string | undefined => path?.split("/").at(-1);

const explained: readonly Explained[] = [
  {
    tool: "",
    field: "filename",
    matches: (ours, theirs) =>
      /^pool\/SHA256\/[0-9a-f]{64}\/[^/]+$/.test(ours ?? "") && lastName(ours) === lastName(theirs),
    why: "packages are addressed by their content",
  },
  {
    tool: "",
    field: "directory",
    matches: (ours) => /^pool\/SHA256\/[0-9a-f]{64}$/.test(ours ?? ""),
    why: "sources are addressed by their .dsc's content",
  },
  ...["sha1", "sha512", "checksums-sha1", "checksums-sha512"].map((field) => ({
    tool: "",
    field,
    matches: onlyTheirs,
    why: "the configured digests are MD5 and SHA256, as in Debian's archive",
  })),
];

/** How often each explained difference occurred. */
const met = new Map<string, number>();

/** Compares our stanzas with theirs. @returns every unexplained difference */
function unexplained(
  toolName: string,
  ours: readonly Stanza[],
  theirs: readonly Stanza[],
  keyOf: (stanza: Stanza) => string,
): readonly string[] {
  const byKey = new Map(ours.map((stanza) => [keyOf(stanza), stanza]));
  const differences: string[] = [];
  const theirKeys = new Set(theirs.map(keyOf));
  for (const key of byKey.keys()) if (!theirKeys.has(key)) differences.push(`${key}: only ours`);
  for (const stanza of theirs) {
    const key = keyOf(stanza);
    const own = byKey.get(key);
    if (own === undefined) {
      differences.push(`${key}: only ${toolName}'s`);
      continue;
    }
    const names = new Set([...own, ...stanza].map(([name]) => name.toLowerCase()));
    for (const field of names) {
      const [ours, theirs] = [fieldOf(own, field), fieldOf(stanza, field)];
      if (ours === theirs) continue;
      const reason = explained.find(
        (one) => [toolName, ""].includes(one.tool) && one.field === field && one.matches(ours, theirs),
      );
      if (reason === undefined)
        differences.push(`${key}: ${field} is ${JSON.stringify(ours)}, and of ${toolName} ${JSON.stringify(theirs)}`);
      else {
        const row = `${toolName.padEnd(18)} ${field.padEnd(18)} ${reason.why}`;
        met.set(row, (met.get(row) ?? 0) + 1);
      }
    }
  }
  return differences;
}

const packageKey = (stanza: Stanza): string =>
  ["Package", "Version", "Architecture"].map((name) => fieldOf(stanza, name)).join(" ");

describe.skipIf(missing !== undefined)("packages of Debian's archive", () => {
  beforeAll(async () => {
    await fetchRealPackages(join(tree, main));
    repack();
    server = await ServerUnderTest.start({ flags: ["--folder", tree, "--state", join(work, "state")] });
    await server.ready();
  }, fetchTimeoutMs);
  afterAll(async () => {
    await server?.end();
    rmSync(work, { recursive: true, force: true });
    const rows = [...met].map(([row, count]) => `${String(count).padStart(6)}  ${row}`);
    process.stderr.write(["differences, each with its reason:", ...rows, ""].join("\n"));
  });

  const indices = [
    ["binary-amd64", ".deb"],
    ["binary-arm64", ".deb"],
    ["debian-installer/binary-amd64", ".udeb"],
  ] as const;

  test("no package is rejected, and there are enough of every form", async () => {
    const page = await (await fetch(`${server.url}/debian/-/rejects`)).text();
    expect(page).toContain("<p>Nothing is rejected.</p>");
    const stanzas = (await Promise.all(indices.map(([index]) => served(`${index}/Packages`)))).flat();
    const keys = new Set(stanzas.map((stanza) => `${packageKey(stanza)} ${fieldOf(stanza, "SHA256")}`));
    expect(keys.size).toBeGreaterThanOrEqual(wantedBinaries);
    const forms = formsIn();
    process.stderr.write(
      `${keys.size} packages: ${[...forms].map(([form, count]) => `${count} of ${form}`).join(", ")}\n`,
    );
    for (const end of ["gz", "xz", "zst"]) expect([...forms.keys()].join()).toContain(`data.tar.${end}`);
    expect((await served("source/Sources")).length).toBeGreaterThanOrEqual(wantedSources);
  });

  test.each(indices)("%s matches apt-ftparchive and dpkg-scanpackages", async (index, end) => {
    const ours = await served(`${index}/Packages`);
    expect(ours.length).toBeGreaterThan(0);
    const place = `${main}/${index}`;
    // Packages for "all" are in one directory, and listed in each index.
    const inPlace =
      index === "binary-arm64" ? ours.filter((stanza) => fieldOf(stanza, "Architecture") !== "all") : ours;
    const ftparchive = tool("apt-ftparchive", ["packages", place], "apt-utils");
    expect(unexplained("apt-ftparchive", inPlace, ftparchive, packageKey)).toEqual([]);
    const scanned = tool("dpkg-scanpackages", ["--multiversion", "--type", end.slice(1), place], "dpkg-dev");
    expect(unexplained("dpkg-scanpackages", inPlace, scanned, packageKey)).toEqual([]);
  });

  test("Sources matches apt-ftparchive and dpkg-scansources", async () => {
    const ours = await served("source/Sources");
    const keyOf = (stanza: Stanza): string => `${fieldOf(stanza, "Package")} ${fieldOf(stanza, "Version")}`;
    expect(
      unexplained("apt-ftparchive", ours, tool("apt-ftparchive", ["sources", `${main}/source`], "apt-utils"), keyOf),
    ).toEqual([]);
    expect(
      unexplained("dpkg-scansources", ours, tool("dpkg-scansources", [`${main}/source`], "dpkg-dev"), keyOf),
    ).toEqual([]);
  });

  // apt-ftparchive does not support Contents of packages for debian-installer.
  test("Contents has the paths and packages that apt-ftparchive finds", async () => {
    const url = `${server.url}/debian/${main}/Contents-amd64`;
    await expect.poll(() => fetch(url).then(({ status }) => status), { timeout: lateTimeoutMs }).toBe(200);
    const theirs = runTool(
      "apt-ftparchive",
      ["contents", join(tree, main, "binary-amd64")],
      "",
      "apt-utils",
    ).toString();
    const ours = locations(await (await fetch(url)).text());
    expect(ours.size).toBeGreaterThan(100);
    expect(ours).toEqual(locations(theirs));
  });
});

/** The packages of each path, sorted and without sections, which apt-ftparchive reads only from overrides. */
function locations(contents: string): ReadonlyMap<string, string> {
  const lines = contents.matchAll(/^(.*\S)\s+(\S+)$/gm);
  return new Map(
    [...lines].map(([, path = "", packages = ""]) => [
      path,
      [...new Set(packages.split(",").map((name) => lastName(name) ?? ""))].toSorted().join(),
    ]),
  );
}
