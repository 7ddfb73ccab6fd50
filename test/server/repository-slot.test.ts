// Requests for paths that are in no index, while a repository lists its tree for the first time.
import { expect, onTestFinished, test, vi } from "vitest";
import { withResolvers } from "../../src/base/with-resolvers.ts";
import { FlatRepositories } from "../../src/publishing/live/flat-repositories.ts";
import { NotSeenYet } from "../../src/publishing/served-repository.ts";
import type { RepositoryService } from "../../src/server/repository-service.ts";
import { RepositorySlot } from "../../src/server/repository-slot.ts";
import { StorageUnavailable } from "../../src/storage/tree.ts";
import { aDeb } from "../support/debs.ts";
import { ServedFolder } from "../support/served-folder.ts";

const path = "dists/sid/main/binary-amd64/notes.txt";
const waitMs = 10_000;

/** A repository that has started, and whose first listing goes on until `end` is called. */
function starting() {
  const { promise: ended, resolve: end } = withResolvers<Error | undefined>();
  const served = new ServedFolder({
    wrap: (tree) => ({
      look: async (at, signal) => {
        const failure = await ended;
        if (failure !== undefined) throw failure;
        return await tree.look(at, signal);
      },
      open: (file, range, signal) => tree.open(file, range, signal),
    }),
  });
  served.put(path, Buffer.from("read me"));
  const repository = new FlatRepositories(served.repository, []);
  const { promise: tookOver, resolve: takeOver } = withResolvers<void>();
  const service: Pick<RepositoryService, "repository" | "start" | "tookOver"> = {
    repository,
    tookOver,
    start: () => repository.start(300),
  };
  // Nothing else of the service is used here.
  const slot = new RepositorySlot(service as RepositoryService);
  void slot.start();
  const find = (at: string, signal = new AbortController().signal) => slot.find(at, { signal });
  return { find, end, takeOver, served };
}

test("they wait until the listing has ended, and then exist or do not", async () => {
  const { find, end } = starting();
  const answers = Promise.all([find(path), find("dists/sid/absent")]);
  end(undefined);
  const [present, absent] = await answers;
  expect(present?.sizeBytes).toBe(7);
  expect(absent).toBeUndefined();
});

test("files of a publication of another replica do not wait for the listing, and others go on waiting", async () => {
  const { find, end, takeOver, served } = starting();
  const other = new ServedFolder();
  other.put("dists/sid/main/binary-amd64/hello_1_amd64.deb", await aDeb({ package: "hello" }));
  await other.ping();
  const [manifest] = other.repository.publications();
  if (manifest === undefined) throw new Error("nothing was published");
  const release = find("dists/sid/InRelease");
  let isAnswered = false;
  const notes = find(path).finally(() => {
    isAnswered = true;
  });
  await new Promise(setImmediate);
  await served.repository.adopt(manifest, Date.now());
  takeOver();
  expect((await release)?.sizeBytes).toBe(manifest.inRelease.length);
  await new Promise(setImmediate);
  expect(isAnswered).toBe(false);
  end(undefined);
  expect((await notes)?.sizeBytes).toBe(7);
});

test("they get the error of a listing that fails, without a further wait", async () => {
  const { find, end } = starting();
  const answer = find(path).catch(String);
  end(new StorageUnavailable("" as never, "the grid is down", { transient: true }));
  expect(await answer).toContain("the grid is down");
  await expect(find(path)).rejects.toThrow("the grid is down");
});

test("they wait for ten seconds at most, counted from the start", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  onTestFinished(() => void vi.useRealTimers());
  const { find } = starting();
  await vi.advanceTimersByTimeAsync(waitMs - 1);
  const answer = find(path).catch((thrown: unknown) => thrown);
  await vi.advanceTimersByTimeAsync(1);
  expect(await answer).toBeInstanceOf(NotSeenYet);
  await expect(find(path)).rejects.toThrow(NotSeenYet);
});

test("256 of them wait; the next gets an error at once, until one of the others is gone", async () => {
  const { find, end } = starting();
  const gone = new AbortController();
  const first = find(path, gone.signal).catch(String);
  const others = Array.from({ length: 255 }, () => find(path));
  // Each of them has got so far.
  await new Promise(setImmediate);
  await expect(find(path)).rejects.toThrow(NotSeenYet);
  gone.abort();
  expect(await first).toContain("AbortError");
  const next = find(path);
  end(undefined);
  expect((await Promise.all([...others, next])).every((found) => found !== undefined)).toBe(true);
});
