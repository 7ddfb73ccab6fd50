// The tutorial, word for word, on minimal Debian systems: its commands run in their order, and print what it says.
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { beforeAll, expect, test } from "vitest";
import { buildPackagesMs, builtPackages } from "../support/built-packages.ts";
import { blockOf, blocksIn } from "../support/documents.ts";
import { debianMachine } from "../support/rootfs.ts";
import { freePort } from "../support/server.ts";

const tutorialMs = 10 * 60_000;
const blocks = blocksIn("docs/tutorial.md");
const first = "/srv/tutorial";

let packages: Awaited<ReturnType<typeof builtPackages>>;
beforeAll(async () => {
  packages = await builtPackages();
}, buildPackagesMs);

/** Runs what a reader's first terminal does, until the second terminal is opened. */
const openFirstTerminal = `
set -m
bash -e /root/first-terminal >/tmp/first-terminal 2>&1 & first=$!
set +m
until grep -q "Ctrl-C stops everything" /tmp/first-terminal; do
  kill -0 $first && sleep 0.2 || { cat /tmp/first-terminal >&2; exit 1; }
done
`;
const ctrlC = "kill -INT -- -$first; wait $first; cat /tmp/first-terminal\n";

/** A reader's shell lines on a Debian release. What each block prints follows a line with its name. */
const terminal = (release: string): string =>
  blocks
    .filter(({ language, name }) => language === "sh" && (!name.includes("-install-") || name.endsWith(release)))
    .map((block) => {
      if (block.name === "tutorial-start") return openFirstTerminal;
      return `echo "== ${block.name}"\n${block.name === "tutorial-clean" ? ctrlC : ""}${block.text}`;
    })
    .join("");

/** What the tutorial says a block prints, as a pattern: a line `…` stands for any lines. */
const promised = (text: string): RegExp =>
  new RegExp(
    `^${text
      .trimEnd()
      .split("\n")
      .map((line) => (line === "…" ? "[\\s\\S]*?" : `${line.replaceAll(/[\\^$.*+?()[\]{}|]/g, "\\$&")} *`))
      .join("\n")}\n*$`,
  );

const sectionsOf = (printed: string): ReadonlyMap<string, string> =>
  new Map(
    printed
      .split(/^== /m)
      .slice(1)
      .map((part) => [part.split("\n", 1)[0] ?? "", part.slice(part.indexOf("\n") + 1)]),
  );

test.concurrent.each(["trixie", "bookworm"] as const)(
  "on a minimal %s, the tutorial leads to an own package from a grid",
  { timeout: tutorialMs },
  async (release) => {
    const machine = await debianMachine(release);
    try {
      const place = join(machine.changes, first);
      mkdirSync(join(place, ".tahoe-apt"), { recursive: true, mode: 0o700 });
      for (const name of packages.files.filter((each) => each.endsWith("_amd64.deb")))
        cpSync(join(packages.directory, name), join(place, name));
      // Another test may have the usual port.
      const address = `127.0.0.1:${await freePort()}`;
      writeFileSync(join(place, ".tahoe-apt/listen"), `${address}\n`);
      mkdirSync(join(machine.changes, "root"));
      writeFileSync(join(machine.changes, "root/first-terminal"), blockOf("sh tutorial-start"));
      const lines = terminal(release).replaceAll("127.0.0.1:8380", address);
      writeFileSync(join(machine.changes, "root/second-terminal"), lines);
      const [command, args] = await machine.enter("exec bash -e /root/second-terminal");
      const { stdout } = await promisify(execFile)(command, args, { maxBuffer: 1 << 26 });
      const sections = sectionsOf(stdout);
      const outputs = blocks.filter(({ language }) => language === "text");
      expect(outputs.length).toBeGreaterThan(5);
      for (const { name, text } of outputs)
        expect(sections.get(name), name).toMatch(promised(text.replaceAll("127.0.0.1:8380", address)));
      expect(sections.get("tutorial-clean")).toContain("Stopped.");
    } finally {
      await machine.remove();
    }
  },
);

test("an output that differs from what the tutorial says is found", () => {
  expect("a (1)\nb\nc\n").toMatch(promised("a (1)\n…\nc\n"));
  expect("a (1)\nb\nd\n").not.toMatch(promised("a (1)\n…\nc\n"));
  expect("a (1)\nb\n").not.toMatch(promised("a (1)\n"));
});
