// Versions have the order of dpkg, which is asked.
import { existsSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { compareVersions, maxEpoch, parseVersion, VersionError } from "../../src/debian/version.ts";
import { cases } from "../support/cases.ts";
import { runTool } from "../support/debs.ts";

const parts = fc.constantFrom(
  "0",
  "1",
  "9",
  "00",
  "10",
  "09",
  "a",
  "B",
  "z",
  "~",
  "~~",
  "+",
  ".",
  "-",
  "+b1",
  "~rc",
  "git",
);
const tail = fc.array(parts, { maxLength: 6 }).map((some) => some.join(""));
const epoch = fc.constantFrom(
  "",
  "",
  "",
  "0:",
  "1:",
  "00:",
  "2:",
  "+1:",
  `${maxEpoch}:`,
  `${maxEpoch + 1}:`,
  "a:",
  ":",
);
const version = fc.tuple(epoch, fc.constantFrom("1", "0", "2.0", "", "x"), tail).map((some) => some.join(""));
/** Two versions that often have a common start, which makes them hard to order. */
const pair = fc.oneof(
  fc.tuple(version, version),
  fc.tuple(epoch, tail, tail, tail).map(([e, start, a, b]) => [`${e}1${start}${a}`, `${e}1${start}${b}`] as const),
);

function outcome(a: string, b: string): "lt" | "eq" | "gt" | "malformed" {
  try {
    const order = compareVersions(a, b);
    return order < 0 ? "lt" : order > 0 ? "gt" : "eq";
  } catch (thrown) {
    if (thrown instanceof VersionError) return "malformed";
    throw thrown;
  }
}

/**
 * Asks dpkg whether each of our answers is right, with one question per pair in one shell. Returns the pairs that
 * differ.
 */
function differences(pairs: ReadonlyArray<readonly [string, string]>): readonly string[] {
  const asked = pairs.filter(([a, b]) => ![a, b].some((one) => one === "" || one.startsWith("-")));
  const questions = asked.map(([a, b]) => {
    const ours = outcome(a, b);
    return `${a} ${ours === "malformed" ? "eq" : ours} ${b}`;
  });
  // Warnings are before the status, and name versions that dpkg does not install.
  const script = 'while read -r a op b; do dpkg --compare-versions "$a" "$op" "$b" 2>&1; echo "=$?"; done';
  const spoken = runTool("sh", ["-c", script], questions.map((line) => `${line}\n`).join("")).toString();
  const answers = spoken.split(/(?<==[0-9])\n/).slice(0, -1);
  expect(answers).toHaveLength(asked.length);
  return asked.flatMap(([a, b], index) => {
    const dpkg = answers[index] === "=0" ? "right" : answers[index] === "=1" ? "wrong" : "malformed";
    const agrees = outcome(a, b) === "malformed" ? dpkg === "malformed" : dpkg === "right";
    return agrees ? [] : [`${questions[index]}: dpkg says ${answers[index]}`];
  });
}

function realVersions(): readonly string[] {
  const status = "/var/lib/dpkg/status";
  if (!existsSync(status)) throw new Error("this test needs Debian's dpkg: apt-get install dpkg");
  // Without package lists this tells of the installed packages only, which have to do then.
  const available = runTool("apt-cache", ["dumpavail"], "", "apt").toString();
  const all = `${readFileSync(status, "utf8")}\n${available}`.matchAll(/^Version: (.*)$/gm);
  return [...new Set([...all].map((match) => match[1]!))];
}

test("generated versions have the order of dpkg, and malformed ones are those that dpkg refuses or warns about", () => {
  expect(differences(fc.sample(pair, cases(3000)))).toEqual([]);
});

test("real versions have the order of dpkg", () => {
  const real = realVersions();
  const step = Math.max(1, Math.floor(real.length / cases(1000)));
  const some = real.filter((_one, index) => index % step === 0);
  // Sorted neighbours are similar; other pairs are random.
  const sorted = [...some].sort();
  const neighbours = sorted.slice(1).map((one, index) => [sorted[index]!, one] as const);
  const strangers = some.map((one, index) => [one, some[(index * 7 + 3) % some.length]!] as const);
  expect(differences([...neighbours, ...strangers])).toEqual([]);
});

test("the order is total: antisymmetric and transitive", () => {
  const wellFormed = version.filter((one) => outcome(one, one) !== "malformed");
  fc.assert(
    fc.property(wellFormed, wellFormed, wellFormed, (a, b, c) => {
      expect(Math.sign(compareVersions(a, b))).toBe(-Math.sign(compareVersions(b, a)) + 0);
      const [low, middle, high] = [a, b, c].sort(compareVersions);
      expect(compareVersions(low!, high!)).toBeLessThanOrEqual(0);
      expect(compareVersions(low!, middle!)).toBeLessThanOrEqual(0);
      expect(compareVersions(middle!, high!)).toBeLessThanOrEqual(0);
    }),
  );
});

test.each([
  ["1.0~rc1", "1.0"],
  ["1.0", "1.0-1"],
  ["1.0-1", "1.0-1+b1"],
  ["1.9", "1.10"],
  ["9", "1:0"],
  ["1.0a", "1.0+"],
  ["1.0-9999999999999999999998", "1.0-9999999999999999999999"],
])("%s is older than %s", (older, newer) => {
  expect(compareVersions(older, newer)).toBeLessThan(0);
  expect(compareVersions(newer, older)).toBeGreaterThan(0);
});

test.each([
  ["1.0", "1.0-0"],
  ["0:1", "1"],
  ["1.01", "1.1"],
  [" 1.0\n", "1.0"],
])("%j equals %j", (a, b) => {
  expect(compareVersions(a, b)).toBe(0);
});

test.each(["", " ", "a", "1_0", "1.0-", "-1", ":1", "1:", "a:1", "2147483648:1", "1 0", "1.0-é", "1\n2"])(
  "%j is not a version",
  (raw) => {
    expect(() => parseVersion(raw)).toThrow(VersionError);
  },
);

test("a version is split at its first colon and its last hyphen", () => {
  expect(parseVersion("2:1.0-rc-3~bpo12+1")).toEqual({ epoch: 2, upstream: "1.0-rc", revision: "3~bpo12+1" });
});
