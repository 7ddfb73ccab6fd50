// On a minimal Debian trixie without a compiler, a clean clone starts with `npm start` and stops with Ctrl-C.
import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { blockOf } from "../support/documents.ts";
import { killed } from "../support/killed.ts";
import type { Machine } from "../support/rootfs.ts";
import { cleanCheckout, trixieMachine } from "../support/rootfs.ts";

const setUpMs = 480_000;
const checkout = "/srv/tahoe-apt";
const ctrlC = "\u0003";
const linesOf = (fence: string): readonly string[] =>
  blockOf(fence)
    .trim()
    .split("\n")
    .map((line) => line.replace(/ +#.*/, ""));
const readme = linesOf("sh readme");
const [clone = "", ...contributing] = linesOf("sh contributing");

let machine: Machine;

beforeAll(async () => {
  machine = await trixieMachine();
  // The lines of CONTRIBUTING.md clone a repository that has the files as they are now.
  const origin = join(machine.changes, "srv/origin");
  await cleanCheckout(origin);
  const commit = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "-m", "All"].join(
    " ",
  );
  const script = `cd srv/origin; git init --quiet; git add --all --force; ${commit}; cd ..; ${clone.replace("URL", origin)}`;
  await promisify(execFile)("bash", ["-euc", script], { cwd: machine.changes, maxBuffer: 1 << 26 });
}, setUpMs);

afterAll(async () => {
  await machine?.remove();
});

/** A running script with its output. */
class Running {
  readonly child: ChildProcessWithoutNullStreams;
  printed = "";
  #printedMore = () => {};

  constructor([command, args]: readonly [string, readonly string[]]) {
    this.child = spawn(command, args);
    for (const output of [this.child.stdout, this.child.stderr]) {
      output.on("data", (chunk: Buffer) => {
        this.printed += chunk.toString("utf8");
        this.#printedMore();
      });
    }
    this.child.once("close", () => this.#printedMore());
    onTestFinished(() => killed(this.child));
  }

  /** @throws if the script ends before it prints this */
  async until(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const found = pattern.exec(this.printed);
      if (found) return found;
      if (this.child.exitCode !== null) throw new Error(`ended before ${pattern}:\n${this.printed}`);
      await new Promise<void>((resolve) => {
        this.#printedMore = resolve;
      });
    }
  }

  async end(): Promise<void> {
    if (this.child.exitCode === null) await once(this.child, "close");
  }
}

/**
 * For process 1: prints the command line of every other process. Without a pipe, whose processes would be listed too.
 */
const listProcesses = `
  for each in /proc/[0-9]*; do
    [ $each = /proc/1 ] || { tr '\\0' ' ' <$each/cmdline; echo; }
  done`;

test("npm start brings up grid and page on a minimal trixie, and Ctrl-C ends every process", {
  timeout: setUpMs,
}, async () => {
  // A separate terminal, so that Ctrl-C reaches the same processes as in a real one.
  expect(readme).toContain("npm start");
  const start = `script --quiet --return --command "npm start" /dev/null`;
  // The sleeper, which nobody ends, proves that leftover processes would be found.
  const script = `cd ${checkout}; sleep 12345 & ${start}; echo "left behind:"; ${listProcesses}; echo "end of list"`;
  const running = new Running(await machine.enter(script));
  const [, url] = await running.until(/(http:\/\/127\.0\.0\.1:\d+\/debian)\/[\s\S]*sources\.list\.d/);
  const page = await fetch(`${url}/`);
  expect(page.status).toBe(200);
  expect(await page.text()).toContain("debian");

  running.child.stdin.write(ctrlC);
  const [, left] = await running.until(/left behind:\s*([\s\S]*)end of list/);
  expect(left?.trim()).toBe("sleep 12345");
  expect(running.printed).toContain("Stopped.");
  expect(running.printed, "caps are not printed without being asked for").not.toMatch(/URI:/);
  await running.end();
  await expect(fetch(`${url}/`)).rejects.toThrow();
});

/**
 * Runs `npm start` in the background, and then a script. The printed commands, which are indented, are in /tmp/lines;
 * what installs and builds prints to standard error.
 */
const besideStart = (script: string, flags = ""): string => `
  cd ${checkout}
  : >/tmp/printed # Also what an earlier test has printed: the job below may empty the file after the first look at it.
  npm start -- ${flags} >/tmp/printed 2>/tmp/steps &
  until grep -q "Ctrl-C stops everything" /tmp/printed; do kill -0 $! && sleep 0.2 || { cat /tmp/printed /tmp/steps; exit 1; }; done
  sed -n 's/^  //p' /tmp/printed | grep -v -e '^http' -e '^…' >/tmp/lines
  ${script}`;

// After the first test, which leaves dependencies and the build behind.
test("the commands that run the tests run them; here only those of one file, because these are among all of them", {
  timeout: setUpMs,
}, async () => {
  expect(contributing).toEqual(["npm start", "npm run test:unit"]);
  for (const line of [...readme, ...contributing].filter((each) => each.includes("test"))) {
    const running = new Running(
      await machine.enter(`cd ${checkout}; ${line} -- test/base/glob.test.ts; echo "ended with $?"`),
    );
    await running.end();
    expect(running.printed).toMatch(/^[1-9]\d* passed, 0 failed, 0 skipped\n[\s\S]*ended with 0$/m);
  }
});

test("the printed lines, pasted in their order in another directory, install, upgrade and remove a package", {
  timeout: setUpMs,
}, async () => {
  // Bash reads them from its standard input, as from a terminal: a command that asks something would swallow the rest.
  const running = new Running(
    await machine.enter(
      besideStart(`
        cd /var && bash -e </tmp/lines 2>/tmp/errors || cat /tmp/errors
        ls /etc/apt/sources.list.d; command -v tahoe-apt-hello || echo "removed"
        cd ${checkout} && npm start -- --show-caps 2>&1 | sed 's/^/beside: /'`),
    ),
  );
  await running.end();
  const { printed } = running;
  const hello = (version: string) => `Hello from tahoe-apt-hello ${version}, installed by APT from Tahoe-LAFS.`;
  expect(printed).toMatch(/Installed: 1\.0\s+Candidate: 1\.0\s+Version table:\s+\*\*\* 1\.0 500\s+500 http:\/\/127/);
  const inOrder = [hello("1.0"), "live: tahoe-apt-hello 2.0 all in sid main", hello("2.0"), '"status":', "removed"];
  const places = inOrder.map((text) => printed.indexOf(text));
  expect(places, printed).toEqual(places.toSorted((one, two) => one - two));
  expect(places, printed).not.toContain(-1);
  expect(printed).toContain("beside: The page of the repository:");
  expect(printed).toMatch(/^beside: .*root\.readcap: URI:DIR2-RO:/m);
});

test("the lines that are printed for a folder work in their order, too", { timeout: setUpMs }, async () => {
  const start = "--folder '/srv/my repository'";
  const script = besideStart("cd /var && bash -e </tmp/lines 2>/tmp/errors || cat /tmp/errors", start);
  // The state of the first test is that of a tree in a grid.
  const running = new Running(
    await machine.enter(`mkdir '/srv/my repository'; rm -rf ${checkout}/.tahoe-apt/server; ${script}`),
  );
  await running.end();
  for (const version of ["1.0", "2.0"])
    expect(running.printed).toContain(`Hello from tahoe-apt-hello ${version}, installed by APT`);
});

test("npm run demo runs to the end with apt 3, update after update", { timeout: setUpMs }, async () => {
  const demo = readme.find((line) => line.includes("demo"));
  const running = new Running(await machine.enter(`cd ${checkout}; apt-get --version; ${demo}; echo "ended with $?"`));
  await running.end();
  expect(running.printed).toMatch(/^apt 3\./m);
  expect(running.printed).toContain("The demonstration is finished.");
  expect(running.printed).toMatch(
    /Left out: .*\n +making a minimal Debian needs mmdebstrap: apt-get install mmdebstrap/,
  );
  expect(running.printed).toContain("ended with 0");
});

test.each([
  ["Python", "/usr/bin/python3", "python3-venv"],
  ["Python's venv", "/usr/lib/python3.13/ensurepip", "python3-venv"],
  ["netifaces or a compiler", "/usr/lib/python3/dist-packages/netifaces*.so", "python3-netifaces"],
])(
  "without %s, npm start names the packages to install and an alternative",
  { timeout: setUpMs },
  async (_what, hidden, named) => {
    const script = `
    cd ${checkout} && rm -rf .tahoe-apt && mkdir /hidden && mv ${hidden} /hidden/
    npm start; echo "ended with $?"
    mv /hidden/* $(dirname "${hidden}")/ && rmdir /hidden`;
    const running = new Running(await machine.enter(script));
    await running.end();
    expect(running.printed).toContain("ended with 1");
    expect(running.printed).toContain(named);
    expect(running.printed).toContain("--folder");
  },
);
