// Items for ordered lists: any time, path and content, with the identity that these give.
import { createHash } from "node:crypto";
import fc from "fast-check";
import { parseTreePath } from "../../src/base/names.ts";
import type { Ordered } from "../../src/indices/order.ts";

/** An item whose identity follows from its path and content. */
export function anItem({ linkedAtMs = 0, path = "a.deb", content = "" }): Ordered {
  const identity = createHash("sha256").update(`${path}\0${content}`).digest("hex");
  return { path: parseTreePath(path), linkedAtMs, identity };
}

/** Items from a small world, so that times and paths collide now and then. */
export const anyItem: fc.Arbitrary<Ordered> = fc
  .record({ linkedAtMs: fc.nat(50), path: fc.nat(200).map((n) => `p${n}.deb`), content: fc.constantFrom("x", "y") })
  .map(anItem);
