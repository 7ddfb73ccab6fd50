// `npm run package`: builds an npm tarball and a Debian package of tahoe-apt in dist-packages/, and a Debian package of
// Node.js for releases whose own is too old. Needs dpkg-deb, npm to fetch the dependencies of each architecture, and for
// arm64 a cross-compiler.
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { readHelp } from "./command-help.mjs";
import { bashCompletion, fishCompletion, zshCompletion } from "./completions.mjs";
import { compileLzmaNative } from "./lzma-native.mjs";
import { manualPage } from "./manual-page.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const templates = join(root, "packaging/deb");
/** Where the packages go. */
let output = "";

/** The Node.js that tahoe-apt-nodejs contains: the newest release with long-term support. */
const nodeVersion = "24.22.3";

/** The name of each architecture at npm, and the number that its ELF files have. @see elf(5), e_machine */
const architectures = { amd64: { npm: "x64", machine: 0x3e }, arm64: { npm: "arm64", machine: 0xb7 } };

const maintainer = "tahoe-apt maintainers <maintainers@example.org>";

const readJson = (path) => JSON.parse(readFileSync(path, "utf8"));

function run(command, args, options = {}) {
  return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"], ...options });
}

function write(path, content, mode = 0o644) {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content, { mode });
  chmodSync(path, mode);
}

/** Debian wants gzip without a name and a time. */
const writeGzipped = (path, text) => write(path, gzipSync(text, { level: 9 }));

/** Seconds since the epoch: of the last commit, or of the sources where there is no history. All files get this time. */
function sourceDate() {
  if (process.env.SOURCE_DATE_EPOCH !== undefined) return Number(process.env.SOURCE_DATE_EPOCH);
  try {
    return Number(run("git", ["log", "-1", "--format=%ct"], { cwd: root, stdio: ["ignore", "pipe", "ignore"] }));
  } catch {
    return Math.floor(statSync(join(root, "package.json")).mtimeMs / 1000);
  }
}

/** Makes tahoe-apt-VERSION.tgz. @returns its path */
function packTarball() {
  // .npmrc forbids the scripts of dependencies; `prepack` is our own, and builds.
  return npmPack(["--ignore-scripts=false", "--foreground-scripts=false"], output);
}

/** @returns the path of the tarball that `npm pack` wrote into a directory */
function npmPack(args, directory) {
  const flags = ["pack", "--json", "--pack-destination", directory];
  const [packed] = JSON.parse(run("npm", [...flags, ...args], { cwd: root }));
  return join(directory, packed.filename);
}

/** Puts the program and the dependencies that it needs on one architecture into a directory. */
function installProgram(tarball, directory, architecture) {
  const npmArchitecture = architectures[architecture].npm;
  mkdirSync(directory, { recursive: true });
  run("tar", ["-xzf", tarball, "-C", directory, "--strip-components=1", "--no-same-owner"]);
  for (const name of ["package-lock.json", ".npmrc"]) cpSync(join(root, name), join(directory, name));
  const flags = ["--omit=dev", "--os=linux", "--libc=glibc", `--cpu=${npmArchitecture}`, "--no-audit", "--no-fund"];
  run("npm", ["ci", ...flags], { cwd: directory });
  for (const name of [".npmrc", "node_modules/.package-lock.json", "node_modules/.bin"]) {
    rmSync(join(directory, name), { recursive: true, force: true });
  }
  const modules = join(directory, "node_modules");
  if (architecture === "arm64") {
    compileLzmaNative(join(modules, "lzma-native"));
    // It has no binary for arm64, and the program works without it.
    rmSync(join(modules, "node-liblzma"), { recursive: true });
  }
  pruneModules(modules, `linux-${npmArchitecture}`);
}

/**
 * The version of the C library that all programs and libraries below a directory need together.
 * @throws if one of them is for another architecture
 */
function demandedGlibc(directory, architecture) {
  let newest = [0, 0];
  for (const name of readdirSync(directory, { recursive: true })) {
    const path = join(directory, name);
    if (!lstatSync(path).isFile()) continue;
    const content = readFileSync(path);
    if (content.toString("latin1", 0, 4) !== "\u007fELF") continue;
    if (content.readUInt16LE(18) !== architectures[architecture].machine)
      throw new Error(`${name} in the package for ${architecture} is for another architecture`);
    for (const [, ...numbers] of content.toString("latin1").matchAll(/\0GLIBC_(\d+)\.(\d+)(?=[.\0])/g)) {
      const version = numbers.map(Number);
      if (version[0] > newest[0] || (version[0] === newest[0] && version[1] > newest[1])) newest = version;
    }
  }
  return newest.join(".");
}

/** What no program loads at run time here: types, sources, documents, binaries for musl and Electron. Licences stay. */
const unneeded =
  /\.(map|md|markdown|html|d\.[cm]?ts|ts|gypi?|cc|cpp|c|h|ya?ml|flow|tsbuildinfo)$|\.musl\.node$|^electron\.|^\.(?!$)/;

/** Removes binaries of other platforms, sources of binaries, types and documents. */
function pruneModules(directory, platform) {
  // The program imports openpgp/dist/node alone.
  for (const name of readdirSync(join(directory, "openpgp/dist"))) {
    if (name !== "node") rmSync(join(directory, "openpgp/dist", name), { recursive: true });
  }
  for (const name of readdirSync(directory, { recursive: true })) {
    const path = join(directory, name);
    if (!existsSync(path)) continue;
    const isForeign = basename(dirname(path)) === "prebuilds" && basename(path) !== platform;
    const isSource = /^(lzma-native|node-liblzma)\/(build|deps|src|scripts)$/.test(name);
    // Commands of modules: nothing here runs them.
    const isCommand = isScript(path);
    const isTest =
      statSync(path).isDirectory() && /^(test|tests|__tests__|\.github|docs|examples?)$/.test(basename(path));
    if (isForeign || isSource || isTest || isCommand || unneeded.test(basename(path)))
      rmSync(path, { recursive: true, force: true });
  }
}

/** The licence of the program and of each module in it, as Policy 12.5 asks. */
function copyright(directory) {
  const own = readFileSync(join(root, "LICENSE"), "utf8").trim();
  const parts = [`tahoe-apt\n\n${own}`];
  for (const module of modulesIn(join(directory, "node_modules"))) {
    const { name, version, license } = readJson(join(module, "package.json"));
    const files = readdirSync(module).filter((each) => /^(licen[cs]e|copying)/i.test(each));
    const texts = files.map((each) => readFileSync(join(module, each), "utf8").trim());
    for (const each of files) rmSync(join(module, each));
    parts.push(`${name} ${version}, licence ${license}\n\n${texts.map(withoutCommonLicences).join("\n\n")}`.trim());
  }
  const title = "This package contains tahoe-apt and the Node.js modules that it needs. Their copyrights and licences:";
  return `${[title, ...parts].join(`\n\n${"-".repeat(80)}\n\n`)}\n`;
}

/** Debian has the texts of common licences in one place: Policy 12.5 wants them named. */
function withoutCommonLicences(text) {
  if (/^\s*Apache License\s+Version 2\.0/.test(text)) {
    return "Debian systems have the text of the Apache License 2.0 in /usr/share/common-licenses/Apache-2.0.";
  }
  if (/GNU LESSER GENERAL PUBLIC LICENSE\s+Version 3/.test(text)) {
    return "Debian systems have the text of the GNU Lesser General Public License 3 in /usr/share/common-licenses/LGPL-3.";
  }
  return text;
}

/** The directories of all modules, nested ones too, sorted. */
function modulesIn(directory) {
  if (!existsSync(directory)) return [];
  const found = [];
  for (const name of readdirSync(directory).sort()) {
    const path = join(directory, name);
    if (name.startsWith("@"))
      found.push(
        ...readdirSync(path)
          .sort()
          .map((each) => join(path, each)),
      );
    else found.push(path);
  }
  return found
    .filter((path) => existsSync(join(path, "package.json")))
    .flatMap((path) => [path, ...modulesIn(join(path, "node_modules"))]);
}

/** The newest first, in the form of Policy 4.4. */
function debianChangelog({ name, version, dateSeconds }) {
  const date = new Date(dateSeconds * 1000).toUTCString().replace("GMT", "+0000");
  return `${name} (${version}) unstable; urgency=medium\n\n  * See /usr/share/doc/tahoe-apt/CHANGELOG.md.gz.\n\n -- ${maintainer}  ${date}\n`;
}

const installedKibibytes = (directory) =>
  readdirSync(directory, { recursive: true })
    .map((name) => lstatSync(join(directory, name)))
    .reduce((sum, file) => sum + (file.isFile() ? Math.ceil(file.size / 1024) : 1), 0);

/** Ends a package: control fields, sizes, times, digests. @returns the path of the .deb */
function buildDeb(stage, { fields, scripts = [], conffiles = [], dateSeconds }) {
  const { Description, ...others } = fields;
  const control = { ...others, "Installed-Size": installedKibibytes(stage), Description };
  const lines = Object.entries(control).map(([name, value]) => `${name}: ${value}\n`);
  write(join(stage, "DEBIAN/control"), lines.join(""));
  for (const name of scripts) write(join(stage, "DEBIAN", name), readFileSync(join(templates, name)), 0o755);
  if (conffiles.length > 0) write(join(stage, "DEBIAN/conffiles"), `${conffiles.join("\n")}\n`);
  const files = readdirSync(stage, { recursive: true })
    .filter((name) => !name.startsWith("DEBIAN") && lstatSync(join(stage, name)).isFile())
    .sort();
  const digests = run("md5sum", ["--", ...files], { cwd: stage, maxBuffer: 1 << 26 });
  write(join(stage, "DEBIAN/md5sums"), digests);
  normalise(stage, dateSeconds);
  const target = join(output, `${fields.Package}_${fields.Version}_${fields.Architecture}.deb`);
  const env = { ...process.env, SOURCE_DATE_EPOCH: String(dateSeconds) };
  // Node.js would take a minute to compress well, and becomes a quarter smaller by that.
  const level = fields.Package === "tahoe-apt" ? "-z6" : "-z1";
  run("dpkg-deb", ["--root-owner-group", "-Zxz", level, "--build", stage, target], { env });
  return target;
}

/** Modes and times do not depend on who builds, and where. */
function normalise(directory, dateSeconds) {
  for (const name of [...readdirSync(directory, { recursive: true }), "."]) {
    const path = join(directory, name);
    const isExecutable = statSync(path).isDirectory() || /^DEBIAN\/(pre|post)|\/tahoe-apt-nodejs\/node$/.test(name);
    chmodSync(path, isExecutable || isScript(path) ? 0o755 : 0o644);
    utimesSync(path, dateSeconds, dateSeconds);
  }
}

/** Whether a file begins with "#!". */
function isScript(path) {
  if (!statSync(path).isFile()) return false;
  const begin = Buffer.alloc(2);
  const file = openSync(path);
  readSync(file, begin);
  closeSync(file);
  return begin.toString() === "#!";
}

function buildProgramPackage(stage, { tarball, architecture, version, engines, dateSeconds }) {
  const library = join(stage, "usr/lib/tahoe-apt");
  const documents = join(stage, "usr/share/doc/tahoe-apt");
  installProgram(tarball, library, architecture);
  write(join(documents, "copyright"), copyright(library));
  writeGzipped(join(documents, "CHANGELOG.md.gz"), readFileSync(join(root, "CHANGELOG.md")));
  writeGzipped(join(documents, "changelog.gz"), debianChangelog({ name: "tahoe-apt", version, dateSeconds }));
  // With their folders, so that the links between them lead somewhere.
  for (const entry of readdirSync(join(root, "docs"), { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile()) write(join(documents, relative(join(root, "docs"), path)), readFileSync(path));
  }
  for (const name of ["prometheus/alerts.yml", "grafana/dashboards/tahoe-apt.json"]) {
    write(join(documents, "examples/monitoring", basename(name)), readFileSync(join(root, "docker", name)));
  }
  for (const name of readdirSync(library)) if (/\.md$|^LICENSE$|^package-lock/.test(name)) rmSync(join(library, name));
  rmSync(join(library, "dist/.built-from"), { force: true });
  // The program in /usr/bin says with what this runs.
  const program = join(library, "dist/cli.js");
  writeFileSync(program, readFileSync(program, "utf8").replace(/^#!.*/, "//"));

  const helps = readHelp(join(root, "dist/cli.js"));
  const date = new Date(dateSeconds * 1000).toISOString().slice(0, 10);
  const shared = join(stage, "usr/share");
  writeGzipped(join(shared, "man/man1/tahoe-apt.1.gz"), manualPage(helps, { version, date }));
  write(join(shared, "bash-completion/completions/tahoe-apt"), bashCompletion(helps));
  write(join(shared, "zsh/vendor-completions/_tahoe-apt"), zshCompletion(helps));
  write(join(shared, "fish/vendor_completions.d/tahoe-apt.fish"), fishCompletion(helps));
  write(join(shared, "lintian/overrides/tahoe-apt"), readFileSync(join(templates, "lintian-overrides")));
  write(join(stage, "usr/bin/tahoe-apt"), readFileSync(join(templates, "tahoe-apt")), 0o755);
  for (const unit of ["tahoe-apt.service", "tahoe-apt.socket"]) {
    write(join(stage, "usr/lib/systemd/system", unit), readFileSync(join(templates, unit)));
  }
  write(join(stage, "etc/tahoe-apt/tahoe-apt.toml"), readFileSync(join(templates, "tahoe-apt.toml")));
  return buildDeb(stage, {
    fields: {
      Package: "tahoe-apt",
      Version: version,
      Architecture: architecture,
      Section: "utils",
      Priority: "optional",
      Maintainer: maintainer,
      Depends: `nodejs (${engines.node.replace(">=", ">= ")}) | tahoe-apt-nodejs, libc6 (>= ${demandedGlibc(library, architecture)}), libgcc-s1, libstdc++6, passwd`,
      Recommends: "zstd, bzip2",
      Description: `APT repository served from a Tahoe-LAFS directory tree
 The server answers APT from a directory tree in a Tahoe-LAFS grid, of which it
 holds the read cap: it generates and signs the indices, and streams the
 packages. Nothing is mirrored. Builders upload into directories of their own
 with a write cap, and ping the server, which publishes moments later.
 .
 The package has the server, the commands for owners of a tree and for builders,
 and a service for systemd, which does not start before it is configured.`,
    },
    scripts: ["postinst", "prerm", "postrm"],
    conffiles: ["/etc/tahoe-apt/tahoe-apt.toml"],
    dateSeconds,
  });
}

/** Node.js by itself, where only tahoe-apt finds it: Debian 12 has 18. */
function buildNodePackage(stage, { architecture, dateSeconds }) {
  const scratch = mkdtempSync(join(tmpdir(), "tahoe-apt-node-"));
  try {
    const packed = npmPack([`node-linux-${architectures[architecture].npm}@${nodeVersion}`], scratch);
    run("tar", ["-xzf", packed, "-C", scratch, "--no-same-owner"]);
    mkdirSync(join(stage, "usr/lib/tahoe-apt-nodejs"), { recursive: true });
    renameSync(join(scratch, "package/bin/node"), join(stage, "usr/lib/tahoe-apt-nodejs/node"));
    const documents = join(stage, "usr/share/doc/tahoe-apt-nodejs");
    const licence = readFileSync(join(scratch, "package/LICENSE"), "utf8");
    write(
      join(documents, "copyright"),
      `The program of Node.js ${nodeVersion}, as the Node.js project builds it.\n\n${licence}`,
    );
    const about = { name: "tahoe-apt-nodejs", version: nodeVersion, dateSeconds };
    writeGzipped(
      join(documents, "changelog.gz"),
      debianChangelog(about).replace(/\* See .*/, `* Node.js ${nodeVersion}.`),
    );
    write(
      join(stage, "usr/share/lintian/overrides/tahoe-apt-nodejs"),
      readFileSync(join(templates, "lintian-overrides.nodejs")),
    );
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  return buildDeb(stage, {
    fields: {
      Package: "tahoe-apt-nodejs",
      Version: nodeVersion,
      Architecture: architecture,
      Section: "javascript",
      Priority: "optional",
      Maintainer: maintainer,
      Depends: `libc6 (>= ${demandedGlibc(stage, architecture)}), libgcc-s1, libstdc++6`,
      Description: `Node.js for tahoe-apt on Debian releases with an older one
 The program of Node.js alone, in a place where only tahoe-apt looks for it. It
 neither replaces nor disturbs the package nodejs.`,
    },
    dateSeconds,
  });
}

function main() {
  const { values } = parseArgs({
    options: {
      output: { type: "string", default: join(root, "dist-packages") },
      architecture: { type: "string", multiple: true, default: Object.keys(architectures) },
    },
  });
  output = resolve(values.output);
  const unknown = values.architecture.filter((name) => !Object.hasOwn(architectures, name));
  if (unknown.length > 0) throw new Error(`there is no package for ${unknown.join(", ")}`);
  const { version, engines } = readJson(join(root, "package.json"));
  const dateSeconds = sourceDate();
  mkdirSync(output, { recursive: true });
  // Only what an earlier run built: the directory may be one of yours.
  for (const name of readdirSync(output)) if (/^tahoe-apt[-_].*\.(deb|tgz)$/.test(name)) rmSync(join(output, name));
  const report = (path) => process.stdout.write(`${path}\n`);
  const tarball = packTarball();
  report(tarball);
  const scratch = mkdtempSync(join(tmpdir(), "tahoe-apt-package-"));
  try {
    for (const architecture of values.architecture) {
      const program = { tarball, architecture, version, engines, dateSeconds };
      report(buildProgramPackage(join(scratch, architecture), program));
      report(buildNodePackage(join(scratch, `${architecture}-node`), { architecture, dateSeconds }));
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

main();
