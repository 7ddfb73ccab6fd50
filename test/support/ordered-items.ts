// Items for ordered lists: any time, path and content, with the identity that these give.
import { createHash } from "node:crypto";
import fc from "fast-check";
import { parseTreePath } from "../../src/base/names.ts";
import type { Ordered } from "../../src/indices/order.ts";

/** An item whose identity follows from its path and content. */
export function anItem({ linkedAtMs = 0, path = "a.deb", content = "", stanzaBytes = 1000 }): Ordered {
  const identity = createHash("sha256").update(`${path}\0${content}`).digest("hex");
  return { path: parseTreePath(path), linkedAtMs, identity, stanzaBytes };
}

/** Items from a small world, so that times and paths collide now and then. */
export const anyItem: fc.Arbitrary<Ordered> = fc
  .record({ linkedAtMs: fc.nat(50), path: fc.nat(200).map((n) => `p${n}.deb`), content: fc.constantFrom("x", "y") })
  // Of a few the stanza alone is as long as a segment may be, in a list that is cut finely.
  .map((recipe) => anItem({ ...recipe, stanzaBytes: recipe.path.length === 5 && recipe.content === "x" ? 5000 : 700 }));
