// Signed repositories made by reprepro, aptly and apt-ftparchive, to import from.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { aDeb, aDsc, runTool } from "./debs.ts";

/** A package file, and where a repository publishes it. */
export interface ForeignPackage {
  readonly suite: string;
  readonly component: string;
  /** The path of the .deb or .dsc. */
  readonly file: string;
}

export interface ForeignRepository {
  /** The directory that contains `dists`. */
  readonly directory: string;
  /** The armoured public key that signed it. */
  readonly keyring: string;
}

/** Architectures of all repositories. */
const architectures = ["amd64", "arm64"];

/**
 * Makes packages in a new directory: binaries for two architectures and for all, and sources, in two suites and two
 * components; 300 by default.
 * @param scale multiplies their number
 */
export async function foreignPackages(work: string, scale = 1): Promise<readonly ForeignPackage[]> {
  const directory = join(work, "made");
  mkdirSync(directory, { recursive: true });
  const made: ForeignPackage[] = [];
  const addBinaries = async (
    suite: string,
    component: string,
    architecture: string,
    count: number,
    version: string,
  ) => {
    const place = join(directory, suite, component);
    mkdirSync(place, { recursive: true });
    for (let n = 0; n < Math.ceil(count * scale); n++) {
      const name = `${component}-${architecture === "all" ? "doc" : "tool"}-${n}`;
      const section = component === "main" ? "utils" : `${component}/utils`;
      const fields = { Section: section, Priority: "optional" };
      const file = join(place, `${name}_${version.replace(/^\d+:/, "")}_${architecture}.deb`);
      writeFileSync(file, await aDeb({ package: name, version, architecture, fields, compression: "none" }));
      made.push({ suite, component, file });
    }
  };
  const addSources = (suite: string, component: string, count: number, version: string) => {
    const place = join(directory, suite, component);
    for (let n = 0; n < Math.ceil(count * scale); n++) {
      const { dsc, files } = aDsc({ source: `${component}-tool-${n}`, version, fields: { Section: "utils" } });
      for (const [name, bytes] of files) writeFileSync(join(place, name), bytes);
      made.push({ suite, component, file: join(place, dsc) });
    }
  };
  await addBinaries("bookworm", "main", "amd64", 80, "1.0-1");
  await addBinaries("bookworm", "main", "arm64", 20, "1.0-1");
  await addBinaries("bookworm", "main", "all", 40, "1:1.0-1");
  await addBinaries("bookworm", "contrib", "amd64", 20, "1.0-1");
  await addBinaries("trixie", "main", "amd64", 100, "2.0-1");
  await addBinaries("trixie", "main", "all", 20, "1:2.0-1");
  addSources("bookworm", "main", 12, "1.0-1");
  addSources("trixie", "main", 8, "2.0-1");
  return made;
}

/** A GnuPG home with one key that signs without a passphrase. */
export class ForeignKey {
  readonly home: string;
  readonly keyring: string;
  readonly fingerprint: string;

  constructor(work: string) {
    this.home = join(work, "gnupg");
    mkdirSync(this.home, { mode: 0o700 });
    this.#gpg("--quick-gen-key", "A Publisher <publisher@example.org>", "ed25519", "sign", "never");
    this.keyring = join(work, "publisher.asc");
    writeFileSync(this.keyring, this.#gpg("--export", "--armor"));
    this.fingerprint = /^fpr:+([0-9A-F]{40}):/m.exec(this.#gpg("--with-colons", "--list-keys").toString())?.[1] ?? "";
  }

  /** Signs `Release` in a directory as `InRelease`, or as `Release.gpg`. */
  sign(directory: string, form: "InRelease" | "Release.gpg" = "InRelease"): void {
    const how = form === "InRelease" ? ["--clearsign"] : ["--armor", "--detach-sign"];
    this.#gpg("--yes", ...how, "-o", join(directory, form), join(directory, "Release"));
  }

  get environment(): NodeJS.ProcessEnv {
    return { ...process.env, GNUPGHOME: this.home };
  }

  #gpg(...args: readonly string[]): Buffer {
    const all = ["--batch", "--passphrase", "", "--homedir", this.home, ...args];
    return execFileSync("gpg", all, { stdio: ["ignore", "pipe", "ignore"] });
  }
}

const bySuite = (packages: readonly ForeignPackage[]): ReadonlyMap<string, readonly ForeignPackage[]> =>
  new Map(
    [...new Set(packages.map(({ suite }) => suite))].map((suite) => [
      suite,
      packages.filter((one) => one.suite === suite),
    ]),
  );

const componentsOf = (packages: readonly ForeignPackage[]): readonly string[] => [
  ...new Set(packages.map(({ component }) => component)),
];

/** A repository of reprepro, which can be changed afterwards. */
export class RepreproRepository implements ForeignRepository {
  readonly directory: string;
  readonly keyring: string;
  readonly #key: ForeignKey;

  constructor(work: string, key: ForeignKey, packages: readonly ForeignPackage[]) {
    runTool("reprepro", ["--version"], "", "reprepro");
    this.directory = join(work, "reprepro");
    this.keyring = key.keyring;
    this.#key = key;
    mkdirSync(join(this.directory, "conf"), { recursive: true });
    const suites = [...bySuite(packages)].map(
      ([suite, own]) =>
        `Origin: Foreign\nLabel: Foreign\nCodename: ${suite}\nArchitectures: ${architectures.join(" ")} source\n` +
        `Components: ${componentsOf(own).join(" ")}\nSignWith: ${key.fingerprint}\n`,
    );
    writeFileSync(join(this.directory, "conf/distributions"), suites.join("\n"));
    this.add(packages);
  }

  add(packages: readonly ForeignPackage[]): void {
    for (const [suite, own] of bySuite(packages)) {
      for (const component of componentsOf(own)) {
        const files = own.filter((one) => one.component === component).map(({ file }) => file);
        const [sources, binaries] = [true, false].map((isSource) =>
          files.filter((file) => file.endsWith(".dsc") === isSource),
        );
        const later = ["--export=silent-never", "-C", component];
        if (binaries?.length) this.run(...later, "includedeb", suite, ...binaries);
        for (const dsc of sources ?? []) this.run(...later, "-S", "utils", "-P", "optional", "includedsc", suite, dsc);
      }
    }
    this.run("export");
  }

  remove(suite: string, ...names: readonly string[]): void {
    this.run("--export=changed", "remove", suite, ...names);
  }

  run(...args: readonly string[]): void {
    execFileSync("reprepro", ["-b", this.directory, "--silent", ...args], {
      env: this.#key.environment,
      stdio: ["ignore", "ignore", "pipe"],
    });
  }
}

/** Publishes packages with aptly. */
export function aptlyRepository(work: string, key: ForeignKey, packages: readonly ForeignPackage[]): ForeignRepository {
  runTool("aptly", ["version"], "", "aptly");
  const rootDir = join(work, "aptly");
  const configuration = join(work, "aptly.conf");
  writeFileSync(configuration, JSON.stringify({ rootDir, gpgProvider: "gpg" }));
  const aptly = (...args: readonly string[]) =>
    execFileSync("aptly", [`-config=${configuration}`, ...args], {
      env: key.environment,
      stdio: ["ignore", "ignore", "pipe"],
    });
  for (const [suite, own] of bySuite(packages)) {
    const repositories = componentsOf(own).map((component) => {
      const name = `${suite}-${component}`;
      aptly("repo", "create", name);
      const files = own.filter((one) => one.component === component).map(({ file }) => file);
      aptly("repo", "add", name, ...files);
      return name;
    });
    aptly(
      "publish",
      "repo",
      `-distribution=${suite}`,
      `-component=${componentsOf(own).join(",")}`,
      `-architectures=${[...architectures, "source"].join(",")}`,
      `-gpg-key=${key.fingerprint}`,
      "-batch",
      ...repositories,
    );
  }
  return { directory: join(rootDir, "public"), keyring: key.keyring };
}

/** Makes a repository with apt-ftparchive: a pool, and indices that a script writes. */
export function ftparchiveRepository(
  work: string,
  key: ForeignKey,
  packages: readonly ForeignPackage[],
): ForeignRepository {
  runTool("apt-ftparchive", ["--version"], "", "apt-utils");
  const directory = join(work, "ftparchive");
  const index = (...args: readonly string[]) =>
    execFileSync("apt-ftparchive", args, { cwd: directory, stdio: ["ignore", "pipe", "ignore"] });
  for (const [suite, own] of bySuite(packages)) {
    const dists = join(directory, "dists", suite);
    for (const component of componentsOf(own)) {
      const pool = join(directory, "pool", suite, component);
      mkdirSync(pool, { recursive: true });
      const [first] = own.filter((one) => one.component === component);
      const made = join(first?.file ?? "", "..");
      execFileSync("cp", ["-r", `${made}/.`, pool]);
      for (const architecture of architectures) {
        const text = index("--arch", architecture, "packages", `pool/${suite}/${component}`);
        writeIndex(join(dists, component, `binary-${architecture}`), "Packages", text);
      }
      const sources = readdirSync(pool).some((name) => name.endsWith(".dsc"));
      if (sources)
        writeIndex(join(dists, component, "source"), "Sources", index("sources", `pool/${suite}/${component}`));
    }
    signedRelease(directory, suite, key, componentsOf(own));
  }
  return { directory, keyring: key.keyring };
}

/**
 * Writes Release and InRelease of a suite for its present indices.
 * @param fields additional fields
 * @param codename the name that the Release has for the suite
 */
export function signedRelease(
  directory: string,
  suite: string,
  key: ForeignKey,
  components: readonly string[],
  fields: { readonly [name: string]: string } = {},
  codename = suite,
): void {
  const dists = join(directory, "dists", suite);
  const settings = {
    Origin: "Foreign",
    Label: "Foreign",
    Codename: codename,
    Components: components.join(" "),
    Architectures: architectures.join(" "),
  };
  for (const name of ["Release", "InRelease", "Release.gpg"])
    if (existsSync(join(dists, name))) execFileSync("rm", [join(dists, name)]);
  const options = Object.entries(settings).flatMap(([name, value]) => [
    "-o",
    `APT::FTPArchive::Release::${name}=${value}`,
  ]);
  const release = execFileSync("apt-ftparchive", [...options, "release", dists], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const more = Object.entries(fields).map(([name, value]) => `${name}: ${value}\n`);
  writeFileSync(join(dists, "Release"), `${more.join("")}${release.toString()}`);
  key.sign(dists);
}

function writeIndex(directory: string, name: string, text: Uint8Array): void {
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, name), text);
  writeFileSync(join(directory, `${name}.gz`), gzipSync(text));
}

/** The text of an index of a repository. */
export const foreignIndex = ({ directory }: ForeignRepository, path: string): string =>
  readFileSync(join(directory, "dists", path), "utf8");
