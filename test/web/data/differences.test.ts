// Comparing two publications with very many differences.
import { expect, test } from "vitest";
import { runSteps } from "../../../src/base/steps.ts";
import { yieldToEventLoop } from "../../../src/base/yield-to-event-loop.ts";
import { changesBetween } from "../../../src/publishing/build/publication-changes.ts";
import type { Manifest } from "../../../src/publishing/store/publication.ts";
import { differencesOf } from "../../../src/web/data/differences.ts";
import type { Difference } from "../../../src/web/data/repository-data.ts";
import { longestComputingMs } from "../../support/event-loop-block.ts";

const perSegment = 250;
const count = 20_000;
const maxComputingMs = 50;

/** A publication of packages in this version, and its segments: enough of it to be compared. */
function publicationOf(version: string) {
  const segments = new Map<string, Buffer>();
  for (let first = 0; first < count; first += perSegment) {
    const stanzas = Array.from({ length: perSegment }, (_, at) => {
      // Not in the order of names.
      const name = `package-${((first + at) * 7919) % count}`;
      return `Package: ${name}\nVersion: ${version}\nArchitecture: all\nFilename: pool/${name}\nDescription: of ${name}\n`;
    });
    segments.set(`${version}-${first}`, Buffer.from(stanzas.join("\n")));
  }
  const index = {
    directory: "main/binary-amd64",
    name: "Packages",
    segments: [...segments.keys()].map((id) => ({ id })),
  };
  return { manifest: { indices: [index] } as unknown as Manifest, segments };
}

test("20,000 packages with other versions are found without occupying the thread for long", async () => {
  const [older, newer] = [publicationOf("1"), publicationOf("2")];
  const all = new Map([...older.segments, ...newer.segments]);
  const read = (id: string) => all.get(id) ?? Buffer.alloc(0);
  const compare = async () => {
    const changes = await changesBetween(older.manifest, newer.manifest, { read });
    return await runSteps(differencesOf(changes), yieldToEventLoop());
  };
  let differences: readonly Difference[] = [];
  let longestMs = Number.POSITIVE_INFINITY;
  // Again if it was too long, because collecting garbage takes time as well.
  for (let attempt = 0; attempt < 3 && longestMs >= maxComputingMs; attempt++) {
    const ms = await longestComputingMs(async () => {
      differences = await compare();
    });
    longestMs = Math.min(longestMs, ms);
  }
  expect(longestMs).toBeLessThan(maxComputingMs);
  expect(differences).toHaveLength(count);
  expect(differences[0]).toMatchObject({ name: "package-0", kind: "changed", before: ["1"], after: ["2"] });
  expect(differences.map(({ name }) => name)).toEqual(differences.map(({ name }) => name).toSorted());
});

test("a comparison ends when nobody waits for it any more", async () => {
  const [older, newer] = [publicationOf("1"), publicationOf("2")];
  const aborted = new AbortController();
  let reads = 0;
  const read = (id: string) => {
    if (++reads === 10) aborted.abort(new Error("nobody waits"));
    return older.segments.get(id) ?? newer.segments.get(id) ?? Buffer.alloc(0);
  };
  await expect(changesBetween(older.manifest, newer.manifest, { read }, aborted.signal)).rejects.toThrow(
    "nobody waits",
  );
  expect(reads).toBeLessThan(100);
});
