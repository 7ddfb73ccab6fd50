// Requests while a changed configuration puts another repository in the place of one. The repositories are fakes, which
// know, do not know yet, or cannot reach what they are asked for.
import { expect, test } from "vitest";
import { rootPath } from "../../src/base/names.ts";
import { withResolvers } from "../../src/base/with-resolvers.ts";
import type { ServedRepository } from "../../src/publishing/served-repository.ts";
import { NotSeenYet } from "../../src/publishing/served-repository.ts";
import type { RepositoryService } from "../../src/server/repository-service.ts";
import { RepositorySlot } from "../../src/server/repository-slot.ts";
import { StorageUnavailable } from "../../src/storage/tree.ts";
import { aRepository, aResource } from "../support/served-repository.ts";

const { signal } = new AbortController();
const range = { after: "", limit: 10 };
const files = { "dists/README": aResource("a file") };
const notSeen = async () => {
  throw new NotSeenYet("dists/README", "the first survey runs");
};
const away = async () => {
  throw new StorageUnavailable(rootPath, "no gateway answers", { transient: true });
};

/** @param started what the first refresh returns */
function aService(changes: Partial<ServedRepository>, started?: string, directory = "/tree"): RepositoryService {
  return {
    repository: aRepository("debian", files, changes),
    prepared: { configuration: { tree: { kind: "folder", directory } } },
    start: async () => started,
    stop: async () => undefined,
  } as unknown as RepositoryService;
}

const readme = (slot: RepositorySlot) => slot.find("dists/README", { signal });
const names = async (slot: RepositorySlot) =>
  (await slot.list("dists", range, signal))?.entries.map(({ name }) => name);

test.each([
  ["has not seen its tree", notSeen],
  ["cannot reach it", away],
])("while the present repository %s, the former one answers; then it does not any more", async (_name, fails) => {
  const slot = new RepositorySlot(aService({}));
  slot.replace(aService({ find: fails, list: fails }));
  expect(await readme(slot)).toBe(files["dists/README"]);
  expect(await names(slot)).toEqual(["README"]);
  await slot.start();
  await expect(readme(slot)).rejects.toThrow();
  await expect(names(slot)).rejects.toThrow();
});

test("after a failed first refresh, the former repository still answers", async () => {
  const slot = new RepositorySlot(aService({}));
  slot.replace(aService({ find: notSeen, list: away }, "the grid is away"));
  expect(await slot.start()).toBe("the grid is away");
  expect(await readme(slot)).toBe(files["dists/README"]);
  expect(await names(slot)).toEqual(["README"]);
});

test("the former repository of another tree, or one that fails too, answers nothing", async () => {
  const elsewhere = new RepositorySlot(aService({}));
  elsewhere.replace(aService({ find: notSeen, list: away }, undefined, "/other"));
  await expect(readme(elsewhere)).rejects.toThrow(NotSeenYet);
  await expect(names(elsewhere)).rejects.toThrow(StorageUnavailable);
  const failing = new RepositorySlot(aService({ find: away, list: away }));
  failing.replace(aService({ find: notSeen, list: notSeen }));
  await expect(readme(failing)).rejects.toThrow(NotSeenYet);
  await expect(names(failing)).rejects.toThrow(NotSeenYet);
});

test("a request that the repository was stopped during is asked of the one that replaced it", async () => {
  const { promise: stopped, resolve: stop } = withResolvers<void>();
  const fails = async (): Promise<never> => {
    await stopped;
    throw new Error("the server stops");
  };
  const slot = new RepositorySlot(aService({ find: fails, list: fails, ping: fails }));
  const [found, listed, pinged] = [readme(slot), names(slot), slot.ping(rootPath, signal)];
  slot.replace(aService({}));
  stop();
  expect(await found).toBe(files["dists/README"]);
  expect(await listed).toEqual(["README"]);
  expect(await pinged).toHaveProperty("added");
});
