// Looks are shared out among builders.
import { expect, test } from "vitest";
import { parseTreePath } from "../../src/base/names.ts";
import { withResolvers } from "../../src/base/with-resolvers.ts";
import { FairLooksTree } from "../../src/storage/fair-looks.ts";
import type { Tree } from "../../src/storage/tree.ts";

const { signal } = new AbortController();

test("a builder whose directories are never listed leaves looks for others", async () => {
  const { promise: held, resolve: letGo } = withResolvers<undefined>();
  let running = 0;
  let most = 0;
  const tree: Tree = {
    async look(path) {
      most = Math.max(most, ++running);
      if (path.startsWith("mallory")) await held;
      running -= 1;
      return undefined;
    },
    async *open() {},
  };
  const fair = new FairLooksTree(tree, 8, (path) => path.split("/")[0] ?? "");
  const look = (path: string) => fair.look(parseTreePath(path), signal);
  const attack = Promise.all(Array.from({ length: 100 }, (_none, n) => look(`mallory/${n}`)));
  await Promise.all(Array.from({ length: 20 }, (_none, n) => look(`alice/${n}`)));
  letGo(undefined);
  await attack;
  expect(most).toBeLessThanOrEqual(8);
});
