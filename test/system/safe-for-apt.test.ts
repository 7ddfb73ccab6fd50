// Whatever builders upload, apt neither fails nor warns on any client; and nothing that apt and dpkg accept is
// rejected.
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import fetch from "node-fetch";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { inspectContent } from "../../src/catalog/inspection/inspect.ts";
import { defaultInspectLimits } from "../../src/catalog/inspection/inspect-limits.ts";
import type { Inspection } from "../../src/catalog/inspection/inspection.ts";
import { renderPackage } from "../../src/indices/packages.ts";
import { AptRoot } from "../support/apt.ts";
import { FieldMutator } from "../support/control-fields.ts";
import { aDeb, aDsc, inChunks } from "../support/debs.ts";
import { debianMachine } from "../support/rootfs.ts";
import { ServerUnderTest } from "../support/server.ts";

const setUpMs = 600_000;
const mutatedBinaries = 1500;
const mutatedSources = 300;
/** Each is given to apt and dpkg separately, which takes a second. */
const heldAgainstBoth = 150;

const inspect = (kind: "binary" | "source", bytes: Uint8Array): Promise<Inspection> =>
  inspectContent(kind, inChunks(bytes), { limits: defaultInspectLimits, algorithms: ["sha256"] });

/** The output of a command and its exit code, or the name of the signal that ended it. */
interface Ran {
  readonly output: string;
  readonly ended: number | string | undefined;
}

function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(command, args, { env: { ...env, LC_ALL: "C.UTF-8" }, maxBuffer: 2 ** 28 }, (error, stdout, stderr) => {
      resolve({ output: stdout + stderr, ended: error?.signal ?? error?.code ?? undefined });
    });
  });
}

/** Fields that are accepted although they look invalid. */
const strangeFields: ReadonlyArray<Readonly<Record<string, string>>> = [
  { Section: "s".repeat(64_000) },
  { Source: `${"s".repeat(64_000)} (1)` },
  { Depends: `hello | ${"d".repeat(64_000)}` },
  { Provides: `p${"p".repeat(60_000)} (= 1)`, "Multi-Arch": "allowed" },
  { "Description-en": "another\n Package: evil\n .\n  .\n\t.\n Filename: ../evil" },
  { Description: "\n first\n .\n\t.\n Package: evil" },
  { "X-Package": "\n Package: evil\n Version: 9\n Architecture: all" },
  { "!field": "x", a$b: "y", z: "z" },
  { Homepage: "https://example.org/\u009b31m\u2028\u0085\ufeff" },
  { "Installed-Size": "18446744073709551615" },
  { Tag: `${"x::y, ".repeat(20_000)}z` },
  { Provides: "", Depends: "", Section: "", Essential: "", "Multi-Arch": "", "Phased-Update-Percentage": "" },
];

/** Also for source packages. */
const strangeSourceFields: ReadonlyArray<Readonly<Record<string, string>>> = [
  { Binary: ",, a b,\n c ,", "Package-List": "\n x\n  y z", Architecture: "any all\n linux-any" },
  { "Vcs-Git": "ext::sh -c evil% \u009b31m", "Vcs-Browser": "x", Homepage: "" },
  { Depends: "foo (= )", "Multi-Arch": "bogus", Provides: "a | b" },
  { Directory: "/etc", Filename: "/etc/passwd", Status: "x", Priority: "bogus", Package: "other" },
  { "Build-Depends": ", ,hello,,", "Build-Depends-Indep": "", Testsuite: "x y\n z" },
];

/** Names that dpkg accepts. */
const strangeNames = ["UPPER", "x_y", "9", "a.b+c", `long${"g".repeat(190)}`];

const work = mkdtempSync(join(tmpdir(), "safe-for-apt-"));
/** Names of packages that no relation field prevents from being installed. */
const installable: string[] = [];
let server: ServerUnderTest;

beforeAll(async () => {
  const put = (path: string, bytes: Uint8Array): void => {
    const target = join(work, "tree/dists/sid/main", path);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, bytes);
  };
  const putDeb = async (name: string, fields: Readonly<Record<string, string>>): Promise<void> =>
    put(`binary-amd64/${name}_1.0-1_all.deb`, await aDeb({ package: name, fields }));
  await putDeb("hello", {});
  // The same name for apt and dpkg: an index can contain only one of them.
  await putDeb("Hello", { Homepage: "https://hello.example.org" });
  // The packages that the mutated fields name, so that apt has choices.
  for (const name of ["foo", "bar", "baz", "qux"]) await putDeb(name, {});
  const mutator = new FieldMutator(3);
  for (let n = 0; n < mutatedBinaries; n++) {
    const [field, value] = mutator.binaryField();
    await putDeb(`mutated${n}`, { [field]: value });
    if (/^(Multi-Arch|Section|Source|Tag|Phased|Description|Important|Installed|SHA|Size|Checksum)/.test(field)) {
      installable.push(`mutated${n}`);
    }
  }
  for (const [n, fields] of strangeFields.entries()) await putDeb(`strange${n}`, fields);
  for (const name of strangeNames) await putDeb(name, {});
  const putSource = (source: string, fields: Readonly<Record<string, string>>): void => {
    for (const [name, bytes] of aDsc({ source, fields }).files) put(`source/${name}`, bytes);
  };
  for (let n = 0; n < mutatedSources; n++) {
    const [field, value] = mutator.sourceField();
    putSource(`mutated-source${n}`, { [field]: value });
  }
  for (const [n, fields] of strangeSourceFields.entries()) putSource(`strange-source${n}`, fields);
  server = await ServerUnderTest.withRepository(work, [`folder = "${work}/tree"`, "translations = true"]);
}, setUpMs);

afterAll(async () => {
  await server?.end();
  rmSync(work, { recursive: true, force: true });
});

const served = async (path: string): Promise<string> =>
  await (await fetch(`${server.url}/debian/dists/sid/main/${path}`)).text();

/** The error and warning lines of apt. */
const complaints = (output: string): readonly string[] =>
  output.split("\n").filter((line) => /^[EW]:|terminate/.test(line));

describe.each(["bookworm", "trixie-apt"] as const)("a client with the apt of %s", (name) => {
  test(
    "reads a suite full of mutated packages and sources without an error or a warning",
    async () => {
      const machine = await debianMachine(name);
      try {
        const source = await (await fetch(`${server.url}/debian/debian.sources`)).text();
        mkdirSync(join(machine.changes, "etc/apt/sources.list.d"), { recursive: true });
        writeFileSync(join(machine.changes, "etc/apt/sources.list.d/debian.sources"), source);
        writeFileSync(join(machine.changes, "etc/apt/sources.list"), "");
        writeFileSync(
          join(machine.changes, "run.sh"),
          `set -u
          apt-get update || echo "E: update: $?"
          apt-cache gencaches || echo "E: gencaches: $?"
          apt-get check || echo "E: check: $?"
          apt-get -s install hello || echo "E: install: $?"
          apt-get -s -o APT::Architectures::=i386 install hello || echo "E: install with another architecture: $?"
          apt-get -s dist-upgrade || echo "E: dist-upgrade: $?"
          apt-cache dumpavail >/dev/null || echo "E: dumpavail: $?"
          apt-cache search . >/dev/null || echo "E: search: $?"
          apt-cache pkgnames >/pkgnames
          known=$(for name in ${installable.join(" ")}; do grep -x "$name" /pkgnames; done)
          echo installing $known
          apt-get -s install $known || echo "E: install all: $?"
          sources=$(apt-get indextargets --format '$(FILENAME)' 'Created-By: Sources')
          for name in $(/usr/lib/apt/apt-helper cat-file $sources | sed -n 's/^Package: //p'); do
            echo "source $name"
            apt-get source --print-uris $name >/dev/null || echo "E: source $name: $?"
            apt-get -s build-dep $name >/printed 2>&1
            case $? in 0|100) ;; *) echo "E: build-dep $name: $?" ;; esac
            grep -i 'problem parsing\\|terminate' /printed | sed 's/^/E: /'
          done`,
        );
        const [command, args] = await machine.enter("sh /run.sh");
        const { output } = await run(command, args);
        expect(complaints(output)).toEqual([]);
        expect(output.match(/^Inst mutated/gm)?.length).toBeGreaterThan(100);
        expect(output.match(/^source mutated-source/gm)?.length).toBeGreaterThan(60);
      } finally {
        await machine.remove();
      }
    },
    setUpMs,
  );
});

test("some of the mutated packages are listed and some rejected, and the page shows field and place", async () => {
  const listed = (await served("binary-amd64/Packages")).match(/^Package: mutated/gm)?.length ?? 0;
  expect(listed).toBeGreaterThan(mutatedBinaries / 3);
  expect(listed).toBeLessThan((mutatedBinaries * 2) / 3);
  const packages = await served("binary-amd64/Packages");
  for (const n of strangeFields.keys()) expect(packages).toContain(`Package: strange${n}\n`);
  expect(packages.match(/^Package: hello$/gim)).toHaveLength(1);
  for (const name of strangeNames) expect(packages).toContain(`Package: ${name}\n`);
  const sources = await served("source/Sources");
  for (const n of strangeSourceFields.keys()) expect(sources).toContain(`Package: strange-source${n}\n`);
  const page = await (await fetch(`${server.url}/debian/-/rejects`)).text();
  expect(page).toMatch(/apt cannot read its [A-Z][A-Za-z-]+, .+ at character \d+: /);
});

/** The errors and warnings of apt for an index. */
async function aptOn(index: string): Promise<readonly string[]> {
  const directory = mkdtempSync(join(work, "alone-"));
  writeFileSync(join(directory, "Packages"), index);
  const apt = new AptRoot({ source: `Types: deb\nURIs: file:${directory}\nSuites: ./\nTrusted: yes\n` });
  try {
    const { output, exitCode } = await apt.run("apt-get", "update");
    // A crash has no exit code, and counts as an error here.
    const again = await apt.run("apt-get", "--simulate", "install", "hello").catch(String);
    const later = typeof again === "string" ? `E: ${again}` : again.output;
    return complaints(`${output}\n${later}\n${exitCode === 0 ? "" : `E: exit code ${exitCode}`}`);
  } finally {
    apt.close();
  }
}

/** The error of dpkg when it installs a package without regard to dependencies. @returns undefined if it succeeds */
async function dpkgOn(deb: Uint8Array): Promise<string | undefined> {
  const directory = mkdtempSync(join(work, "dpkg-"));
  writeFileSync(join(directory, "it.deb"), deb);
  mkdirSync(join(directory, "db/updates"), { recursive: true });
  mkdirSync(join(directory, "db/info"));
  writeFileSync(join(directory, "db/status"), "");
  const args = ["--dry-run", "--force-all", `--admindir=${directory}/db`, "--unpack", join(directory, "it.deb")];
  const { output, ended } = await run("dpkg", args);
  return ended === undefined ? undefined : output;
}

const archiveFields = `Filename: ./it.deb\nSize: 1\nSHA256: ${"0".repeat(64)}\n`;
const hello = `Package: hello\nVersion: 1\nArchitecture: amd64\n${archiveFields.replace("it", "hello")}\n`;

test(
  "rejected packages are rejected by apt or dpkg, and listed ones are accepted by apt without a warning",
  async () => {
    const mutator = new FieldMutator(4);
    const wrong: string[] = [];
    const counts = { listed: 0, aptRefuses: 0 };
    for (let n = 0; n < heldAgainstBoth; n++) {
      const [field, value] = mutator.binaryField();
      const control = `Package: it\nVersion: 1\nArchitecture: amd64\nMaintainer: A <a@example.org>\n${field}: ${value}\n`;
      const deb = await aDeb({ control });
      const inspection = await inspect("binary", deb);
      const isListed = inspection.kind === "binary";
      // Listed packages are tested as rendered in the index, and rejected ones as uploaded.
      const shown = isListed ? renderPackage(inspection, "./it.deb", ["sha256"]) : `${control}${archiveFields}\n`;
      const complaints = await aptOn(`${shown}${hello}`);
      counts.listed += isListed ? 1 : 0;
      counts.aptRefuses += complaints.length > 0 ? 1 : 0;
      // The index of a variant is chosen by us only, independently of both programs.
      if (field === "Architecture-Variant" && !isListed) continue;
      const isOk = isListed ? complaints.length === 0 : complaints.length > 0 || (await dpkgOn(deb)) !== undefined;
      if (!isOk) wrong.push(`${isListed ? "listed" : "rejected"}: ${field}: ${value}: ${JSON.stringify(complaints)}`);
    }
    // Both kinds are compared with apt and dpkg.
    expect(counts.listed).toBeGreaterThan(heldAgainstBoth / 4);
    expect(counts.aptRefuses).toBeGreaterThan(heldAgainstBoth / 4);
    expect(wrong).toEqual([]);
  },
  setUpMs,
);
