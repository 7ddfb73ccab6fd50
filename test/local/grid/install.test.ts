// Finding Python and installing Tahoe: missing programs, interruptions, and concurrent installations.
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { withResolvers } from "../../../src/base/with-resolvers.ts";
import type { Tahoe } from "../../../src/local/grid/install.ts";
import { installTahoe } from "../../../src/local/grid/install.ts";
import type { Python } from "../../../src/local/grid/python.ts";
import { findPython } from "../../../src/local/grid/python.ts";

const { signal } = new AbortController();
let base: string;
beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), "tahoe-apt-install-"));
});
afterEach(() => rm(base, { recursive: true, force: true }));

async function program(path: string, script: string): Promise<string> {
  await mkdir(join(path, ".."), { recursive: true });
  await writeFile(path, `#!/bin/sh\n${script}\n`);
  await chmod(path, 0o755);
  return path;
}

/** Creates a program that answers the probe like Python. */
const fakeInterpreter = (name: string, output: string): Promise<string> =>
  program(join(base, name), `echo '${output}'`);

test("a Python that is too old, broken or missing is skipped for the next one", async () => {
  const old = await fakeInterpreter("old", "3.8.18 True True /usr/bin/old");
  const broken = await program(join(base, "broken"), "exit 127");
  const good = await fakeInterpreter("good", "3.13.5 True False /usr/bin/a python");
  expect(await findPython(signal, [join(base, "absent"), old, broken, good])).toEqual({
    executable: "/usr/bin/a python",
    version: "3.13.5",
    hasNetifaces: false,
  });
});

test("without Python, or with one without venv, the error names the package to install", async () => {
  await expect(findPython(signal, [join(base, "absent")])).rejects.toMatchObject({
    code: "grid/tool-missing",
    debianPackage: "python3-venv",
  });
  const bare = await fakeInterpreter("bare", "3.13.5 False False /usr/bin/python3");
  await expect(findPython(signal, [bare])).rejects.toThrow("apt-get install python3-venv");
});

/** A fake Python whose venv module creates a directory with a fake pip; the file `calls` records all arguments. */
async function fakePython(pip: string, hasNetifaces: boolean): Promise<Python> {
  const script = `
echo "$*" >> ${base}/calls
for target; do :; done
mkdir -p "$target/bin"
printf '#!/bin/sh\\necho "$*" >> ${base}/calls\\n${pip}\\n' > "$target/bin/python"
chmod +x "$target/bin/python"`;
  return { executable: await program(join(base, "python"), script), version: "3.13.5", hasNetifaces };
}

const install = (python: Python, searchPath = "", progress: (step: string) => void = () => {}): Promise<Tahoe> =>
  installTahoe({ directory: join(base, "state/venv"), progress, signal, python, searchPath });
const calls = async (): Promise<string[]> => (await readFile(join(base, "calls"), "utf8")).trim().split("\n");

test("Tahoe is installed once, with pinned and constrained versions, and then reused", async () => {
  const python = await fakePython("echo Collecting something", false);
  const steps: string[] = [];
  const tahoe = await install(python, "", (step) => steps.push(step));
  expect(tahoe.executable).toBe(join(base, "state/venv/bin/tahoe"));
  expect(await calls()).toEqual([
    expect.stringMatching(/^-m venv \S+\/venv$/),
    expect.stringMatching(/^-m pip install .*-c \S+\/constraints.txt tahoe-lafs==1\.20\.0/),
  ]);
  expect(steps).toContain("Collecting something");
  await install(python);
  expect(await calls()).toHaveLength(2);
  await install({ ...python, version: "3.14.1" });
  expect(await calls()).toHaveLength(4);
});

test("a failed installation is repeated, even if a dead process left its lock", async () => {
  const failing = await fakePython("echo it broke; exit 1", false);
  await expect(install(failing, await compilerPath())).rejects.toMatchObject({ code: "grid/install-failed" });
  await expect(install(failing, await compilerPath())).rejects.toThrow("it broke");
  await writeFile(join(base, "state/.venv.lock.1"), "999999999 1\n");
  await install(await fakePython("true", false));
  expect((await calls()).length).toBe(6);
});

test("if netifaces cannot be built, the error names the Debian package", async () => {
  await expect(install(await fakePython("exit 1", false))).rejects.toMatchObject({
    code: "grid/tool-missing",
    debianPackage: "python3-netifaces",
  });
});

test("the system's netifaces is used only if there is no compiler", async () => {
  const python = await fakePython("true", true);
  await install(python);
  expect((await calls())[0]).toContain("--system-site-packages");
  await rm(join(base, "state"), { recursive: true });
  await install(python, await compilerPath());
  expect((await calls())[2]).not.toContain("--system-site-packages");
});

test("of two concurrent installations, one waits and reuses the other", async () => {
  const isReleased = join(base, "released");
  const python = await fakePython(`until [ -e ${isReleased} ]; do sleep 0.05; done`, false);
  const waiting = withResolvers<string>();
  const onProgress = (step: string): void => {
    if (step.includes("Waiting")) waiting.resolve(step);
  };
  const both = [install(python, "", onProgress), install(python, "", onProgress)];
  expect(await waiting.promise).toContain(`Waiting for another installation (process ${process.pid})`);
  await writeFile(isReleased, "");
  await Promise.all(both);
  expect(await calls()).toHaveLength(2);
});

test("an aborted installation rejects with the signal's reason and releases its lock", async () => {
  const python = await fakePython("echo Collecting something; sleep 30", false);
  const controller = new AbortController();
  const reason = new Error("aborted");
  const started = withResolvers<void>();
  const progress = (step: string) => void (step === "Collecting something" && started.resolve());
  const options = { directory: join(base, "state/venv"), progress, python, searchPath: "" };
  const installing = installTahoe({ ...options, signal: controller.signal });
  await started.promise;
  controller.abort(reason);
  await expect(installing).rejects.toBe(reason);
  expect(await readFile(join(base, "state/.venv.lock.1"), "utf8")).toBe("");
});

test("if no file can be created, the installation fails instead of retrying forever", async () => {
  const options = { progress: () => {}, python: await fakePython("true", false), searchPath: "", signal };
  await expect(installTahoe({ ...options, directory: "/proc/venv" })).rejects.toMatchObject({ code: "ENOENT" });
});

async function compilerPath(): Promise<string> {
  await program(join(base, "compiler/cc"), "true");
  return join(base, "compiler");
}
