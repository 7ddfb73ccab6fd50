// Ed scripts between indices: rred of apt makes the new index from the old one, and unchanged segments are not read.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { yieldToEventLoop } from "../../../src/base/yield-to-event-loop.ts";
import type { RecordEnd } from "../../../src/indices/pdiff/ed-script.ts";
import { edScript } from "../../../src/indices/pdiff/ed-script.ts";
import { cases } from "../../support/cases.ts";
import { runTool } from "../../support/debs.ts";

const rred = "/usr/lib/apt/methods/rred";
const directory = mkdtempSync(join(tmpdir(), "ed-script-"));
afterAll(() => rmSync(directory, { recursive: true }));
const yieldNow = yieldToEventLoop(new AbortController().signal);
const manyBytes = 1_000_000;

/** An index in segments, each given by its text, which is also its id. */
type Segments = readonly string[];

async function scriptOf(
  from: Segments,
  to: Segments,
  { recordEnd = "\n\n" as RecordEnd, maxBytes = manyBytes, read = (_id: string): void => {} } = {},
): Promise<Buffer | undefined> {
  const listed = (segments: Segments) =>
    segments.map((id) => ({ id, uncompressedBytes: Buffer.byteLength(id), lines: id.split("\n").length - 1 }));
  const options = {
    read: (id: string) => {
      read(id);
      return Buffer.from(id);
    },
    recordEnd,
    maxBytes,
    yieldNow,
  };
  const script = await edScript(listed(from), listed(to), options);
  return script && Buffer.from(script);
}

function patched(old: string, script: Uint8Array): string {
  writeFileSync(join(directory, "script"), script);
  return runTool(rred, ["-f", join(directory, "script")], old, "apt").toString();
}

const stanza = (name: string, version = "1"): string => `Package: ${name}\nVersion: ${version}\nText: ä\n\n`;

test("commands for added, removed and changed stanzas have line numbers, the last first", async () => {
  const from = [stanza("a") + stanza("b"), stanza("c"), stanza("d")];
  const to = [stanza("new") + stanza("a") + stanza("b", "2"), stanza("c"), stanza("e")];
  const script = await scriptOf(from, to);
  expect(script?.toString()).toBe(`13,16c\n${stanza("e")}.\n5,8c\n${stanza("b", "2")}.\n0a\n${stanza("new")}.\n`);
  expect(patched(from.join(""), script!)).toBe(to.join(""));
});

test("segments that both indices contain are counted, but never read", async () => {
  const many = Array.from({ length: 50 }, (_, n) => stanza(`p${n}`) + stanza(`q${n}`));
  const read: string[] = [];
  const from = [...many, stanza("x")];
  const to = [...many.slice(0, 20), ...many.slice(21), stanza("x") + stanza("y")];
  const script = await scriptOf(from, to, { read: (id) => void read.push(id) });
  expect(new Set(read)).toEqual(new Set([many[20], stanza("x"), stanza("x") + stanza("y")]));
  expect(script?.toString()).toBe(`404a\n${stanza("y")}.\n161,168d\n`);
  expect(patched(from.join(""), script!)).toBe(to.join(""));
});

test("the same stanzas in other segments need no command", async () => {
  const names = Array.from({ length: 20 }, (_, n) => stanza(`p${n}`));
  const pairs = names.flatMap((name, n) => (n % 2 === 0 ? [name + names[n + 1]!] : []));
  expect((await scriptOf(names, pairs))?.toString()).toBe("");
  expect((await scriptOf([], []))?.toString()).toBe("");
});

test("lines are records if the options say so", async () => {
  const script = await scriptOf(["a\nb\nc\n"], ["a\nc\nd\n"], { recordEnd: "\n" });
  expect(script?.toString()).toBe("3a\nd\n.\n2d\n");
});

test("there is no script if it would be too long, or if a line would end its text", async () => {
  const text = stanza("a");
  const exactly = `0a\n${text}.\n`.length;
  const bytes = Buffer.byteLength(`0a\n${text}.\n`);
  expect(exactly).toBe(bytes - 1);
  expect(await scriptOf([], [text], { maxBytes: bytes - 1 })).toBeUndefined();
  expect((await scriptOf([], [text], { maxBytes: bytes }))?.length).toBe(bytes);
  for (const dot of [".\n\n", "a\n.\n\n"]) expect(await scriptOf([], [dot])).toBeUndefined();
  expect((await scriptOf([], [" .\n.x\n\n"]))?.toString()).toBe("0a\n .\n.x\n\n.\n");
});

test("indices of many megabytes that differ in every segment are compared in windows, with scripts as short as otherwise", async () => {
  const filling = "It fills a window.\n ".repeat(70);
  const large = (name: string): string => `Package: ${name}\nDescription: ${filling}.\n\n`;
  const groups = Array.from({ length: 60 }, (_, n) => Array.from({ length: 50 }, (_, k) => large(`p${n}-${k}`)));
  const from = groups.map((group) => group.join(""));
  const appended = Array.from({ length: 2500 }, (_, n) => large(`q${n}`)).join("");
  const to = [...groups.map((group, n) => group.filter((_, k) => k !== n % 50).join("")), appended];
  const script = await scriptOf(from, to, { maxBytes: 10_000_000 });
  expect(patched(from.join(""), script!)).toBe(to.join(""));
  expect(script!.length).toBeLessThan(appended.length + 60 * 20);
  const shorter = [...from.slice(0, 3), ...from.slice(57)].map((text, n) => `${text}${stanza(`r${n}`)}`);
  const cut = await scriptOf(from, shorter, { maxBytes: 10_000_000 });
  expect(patched(from.join(""), cut!)).toBe(shorter.join(""));
});

const anyIndex = (recordEnd: RecordEnd): fc.Arbitrary<Segments> =>
  fc.array(
    fc
      .array(
        fc.nat(12).map((n) => (recordEnd === "\n" ? `line ${n}\n` : stanza(`p${n}`, n % 3 === 0 ? "1" : "1\nMore: é"))),
        { minLength: 1, maxLength: 4 },
      )
      .map((records) => records.join("")),
    { maxLength: 6 },
  );

test("for any two indices, also with records that repeat or move, rred makes the new one from the old one", async () => {
  const pair = fc
    .constantFrom<RecordEnd>("\n", "\n\n")
    .chain((recordEnd) =>
      fc.record({ recordEnd: fc.constant(recordEnd), from: anyIndex(recordEnd), to: anyIndex(recordEnd) }),
    );
  await fc.assert(
    fc.asyncProperty(pair, async ({ recordEnd, from, to }) => {
      const script = await scriptOf(from, to, { recordEnd });
      if (script!.length === 0) expect(to.join("")).toBe(from.join(""));
      else expect(patched(from.join(""), script!)).toBe(to.join(""));
    }),
    { numRuns: cases(100) },
  );
});
