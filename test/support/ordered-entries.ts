// Entries for ordered lists: any time, path and content, with the identity that follows from these.
import { createHash } from "node:crypto";
import fc from "fast-check";
import { parseTreePath } from "../../src/base/names.ts";
import type { Ordered } from "../../src/indices/order.ts";

/** An entry whose identity follows from its path and content. */
export function anEntry({ linkedAtMs = 0, path = "a.deb", content = "", stanzaBytes = 1000 }): Ordered {
  const identity = createHash("sha256").update(`${path}\0${content}`).digest("hex");
  return { path: parseTreePath(path), linkedAtMs, identity, stanzaBytes };
}

/** Entries with few different times and paths, so that they collide sometimes. */
export const anyEntry: fc.Arbitrary<Ordered> = fc
  .record({ linkedAtMs: fc.nat(50), path: fc.nat(200).map((n) => `p${n}.deb`), content: fc.constantFrom("x", "y") })
  // A few stanzas are as long as a whole segment of a finely cut list.
  .map((recipe) =>
    anEntry({ ...recipe, stanzaBytes: recipe.path.length === 5 && recipe.content === "x" ? 5000 : 700 }),
  );
